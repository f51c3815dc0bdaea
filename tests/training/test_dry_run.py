"""What a training would do, without weights; and the script that tries a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_labels
from command import run

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "gpu_check.sh"


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    """A training on the configuration alone of a backbone of 0.5B's shape."""
    config = {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
        "head_dim": 64, "max_position_embeddings": 512,
    }  # fmt: skip
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "config.json").write_text(json.dumps(config))
    labels = tiny_labels.write(tmp_path / "l.jsonl", tiny_labels.rows())
    return ["scorer", "train", "--labels", labels, "--backbone", tmp_path / "backbone",
            "--test-models", "blue", "--val-models", "green", "--out", tmp_path / "out",
            "--dry-run", "--epochs", "2"]  # fmt: skip


def test_eight_processes_are_planned_and_nothing_is_written(
    words: list[object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    more = ("--fsdp", "--bf16", "--packing", "--batch-size", "1", "--accumulate", "2")
    assert run(*words, *more) == 0
    told = capsys.readouterr().err
    assert "processes: 8" in told
    assert "a step: 16 rows (1 × 2 × 8)" in told
    assert "steps: 4 at most, for 30 rows and 2 epochs" in told
    layer = 896 * (2 * 896 + 2 * 128 + 3 * 4864) + 2 * 896 + 2 * 64
    parameters = 151936 * 896 + 24 * layer + 896
    assert f"qwen3, 24 layers, {parameters:,} parameters, {parameters:,} trained" in told
    assert f"{parameters * 16 / 8 / 2**30:.2f} GiB for weights, gradients and AdamW" in told
    assert "sharded over the processes (FSDP2); computed in bfloat16" in told
    assert "attention: auto, packed if the backbone keeps examples apart" in told
    assert not Path(str(words[words.index("--out") + 1])).exists()


def counted(kind: str = "qwen3", processes: int = 1, **changes: Any) -> Any:
    from transformers import AutoConfig

    from flames.training import TrainOptions
    from flames.training.memory import count_memory

    config = AutoConfig.for_model(
        kind, vocab_size=100, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=128, **({} if kind == "bert" else {"num_key_value_heads": 2}),
    )  # fmt: skip
    options = {"backbone": "b", "batch_size": 2, "max_length": 64, **changes}
    return count_memory(config, TrainOptions(**options), processes)


@pytest.mark.parametrize("kind", ["qwen3", "bert"])
def test_memory_is_counted_from_the_tensors_that_are_kept(kind: str) -> None:
    plain, large = counted(kind), counted(kind, batch_size=4)
    assert large.activations == pytest.approx(2 * plain.activations, rel=0.05)
    assert large.weights == plain.weights == 4 * plain.parameters
    assert plain.states == 2 * plain.gradients == 8 * plain.trained
    assert counted(kind, checkpoint_layers=True).activations < 0.6 * plain.activations
    assert counted(kind, attention="eager").activations > plain.activations
    assert counted(kind, dtype="bfloat16").weights == plain.weights / 2
    assert counted(kind, bf16=True).activations < plain.activations
    last = counted(kind, train_layers=1)
    assert 0 < last.trained < plain.trained / 4
    assert last.activations < plain.activations / 2


def test_memory_of_several_processes_is_shared_or_held_by_each() -> None:
    one, shared, each = counted(), counted(processes=4, fsdp=True), counted(processes=4)
    assert shared.weights == one.weights // 4
    assert shared.states == one.states // 4
    assert shared.gathered > 0
    assert each.weights == one.weights
    assert each.buckets == one.gradients


def test_adapters_take_little_memory() -> None:
    pytest.importorskip("peft", reason="needs the extra train")
    plain, lora = counted(), counted(lora_rank=2)
    assert 0 < lora.trained < plain.trained / 10
    assert lora.states == 8 * lora.trained
    assert lora.parameters == plain.parameters + lora.trained


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--fsdp",), "start it with torchrun"),
        (("--train-layers", "25"), "the backbone has 24 layers"),
        (("--frozen",), "--dry-run is for gradient steps"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[object], more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, *more) == 2
    assert message in capsys.readouterr().err


def check(*more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([SCRIPT, *more], capture_output=True, text=True, env=env)


def test_the_check_of_a_gpu_refuses_without_one() -> None:
    done = check()
    assert done.returncode == 1
    assert done.stderr.strip().endswith("--cpu checks a tiny model without one")


def test_the_check_of_a_gpu_runs_a_tiny_model_without_one() -> None:
    for module in ("onnx", "onnxscript", "onnxruntime", "accelerate"):
        pytest.importorskip(module, reason="needs the extras train and cpu")
    done = check("--cpu")
    assert done.returncode == 0, done.stderr
    ran = [line.split(":", 1)[1].rpartition(":") for line in done.stdout.splitlines()[1:-1]]
    assert [what.strip() for what, _, _ in ran] == [
        "flames scorer train", "attention: sdpa, packing", "flames score", "flames scorer export",
    ]  # fmt: skip
