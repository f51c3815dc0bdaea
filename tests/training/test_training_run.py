from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_labels
import tiny_models
from command import run

from flames.errors import UsageError
from flames.scorers.base import ScorerContext
from flames.scorers.labelled import read_labelled
from flames.scorers.registry import load_scorer
from flames.scorers.trained.settings import read_settings
from flames.taxonomy import default_taxonomy
from flames.training import Split, SplitOptions, TrainOptions, split

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("accelerate", reason="needs the extra train")

import torch

TAXONOMY = default_taxonomy()
SUPPORT = Path(tiny_models.__file__).parent


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_labels.write(tmp_path_factory.mktemp("labels") / "l.jsonl", tiny_labels.rows())


def parts(labels: Path) -> Split:
    options = SplitOptions(test_models=("blue",), val_models=("green",))
    return split(read_labelled([str(labels)]), options, TAXONOMY)


def options(backbone: Path, **changes: Any) -> TrainOptions:
    return TrainOptions(**{
        "backbone": str(backbone), "max_length": 48, "batch_size": 6, "epochs": 4.0,
        "learning_rate": 2e-3, "device": "cpu", "compare": (), **changes,
    })  # fmt: skip


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def opened(folder: Path) -> Any:
    """A scorer that would fail its self-test."""
    return load_scorer(str(folder), ScorerContext(options={"selftest": "off"}))


def test_the_command_trains_judges_and_describes_a_scorer(
    bert: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    command = (
        "scorer", "train", "--labels", labels, "--backbone", bert, "--out", out,
        "--test-models", "blue", "--val-models", "green", "--max-length", 48, "--epochs", 12,
        "--batch-size", 6, "--learning-rate", 3e-3, "--device", "cpu", "--patience", 0,
    )  # fmt: skip
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "rows: training 30, validation 30, test 30" in printed.err
    assert "test part" in printed.out
    held = sorted(path.name for path in out.iterdir())
    assert held == [
        "README.md", "config.json", "evaluation-test.json", "evaluation-validation.json",
        "model.safetensors", "tokenizer.json", "training.json",
    ]  # fmt: skip
    figures = json.loads((out / "evaluation-test.json").read_text())["results"]
    assert [each["scorer"].split("@")[0] for each in figures] == ["mine", "lexical"]
    own = figures[0]["overall"]
    assert own["accuracy"]["low"] > own["majority"]["value"] > 20
    card = (out / "README.md").read_text("utf-8")
    settings = read_settings(out)
    assert settings.training_data is not None
    for part in (
        settings.training_data.sha256, read_labelled([str(labels)]).files["l.jsonl"],
        "| Legality | 6 (3 × 3, 3 × 1) |", "- test: blue (30 prompts)", "majority class",
        "### Confusion matrices", "ECE", "## Limits", "lexical\\@2",
    ):  # fmt: skip
        assert part in card
    assert "Not human" not in card
    [majority] = [line for line in card.splitlines() if line.startswith("| test | majority")]
    assert float(majority.split("|")[-2].split()[0].replace("−", "-")) == pytest.approx(
        -own["gain"]["value"], abs=0.06
    )
    assert str(bert.parent) not in card + (out / "config.json").read_text()
    labelled = read_labelled([str(labels)])
    scorer = opened(out)
    blue = [row for row in labelled.rows if row.key.model == "blue"]
    predicted = [verdict.score for verdict in scorer.score([row.response for row in blue])]
    right = np.mean([a == row.score for a, row in zip(predicted, blue, strict=True)])
    assert 100 * right == pytest.approx(own["accuracy"]["value"])
    assert scorer.info.id == figures[0]["scorer"] == settings.id
    assert run(*command) == 2
    assert "holds a finished training" in capsys.readouterr().err


@pytest.mark.parametrize("packing", [False, True])
def test_killed_and_resumed_it_ends_where_it_would_have_ended(
    bert: Path, labels: Path, tmp_path: Path, packing: bool
) -> None:
    from flames.training import train

    chosen = options(bert, eval_every=3, packing=packing)
    train(parts(labels), chosen, tmp_path / "whole", TAXONOMY)
    code = f"""
import os, signal, sys
sys.path[:0] = [{str(SUPPORT)!r}, {str(Path(__file__).parent)!r}]
import torch
torch.set_num_threads(1)
from pathlib import Path
import test_training_run as t
from flames.training import train

def killed(what, share):
    if what.startswith("training") and share >= 0.6:
        os.kill(os.getpid(), signal.SIGKILL)

chosen = t.options(Path({str(bert)!r}), eval_every=3, packing={packing})
train(t.parts(Path({str(labels)!r})), chosen, Path({str(tmp_path / "cut")!r}), t.TAXONOMY,
      progress=killed)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    torn = tmp_path / "cut" / "checkpoints" / "checkpoint-99"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"half')
    with pytest.raises(UsageError, match="continue it with --resume"):
        train(parts(labels), chosen, tmp_path / "cut", TAXONOMY)
    with pytest.raises(UsageError, match="a training with other options"):
        train(parts(labels), options(bert, seed=1), tmp_path / "cut", TAXONOMY, resume=True)
    steps: list[float] = []
    train(
        parts(labels), chosen, tmp_path / "cut", TAXONOMY, resume=True,
        progress=lambda what, share: steps.append(share) if "training" in what else None,
    )  # fmt: skip
    assert min(steps) > 0.4  # what was done before the last checkpoint is not done again
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=0, atol=1e-6)
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_batches_of_one_step_count_as_one_large_batch(
    bert: Path, labels: Path, tmp_path: Path
) -> None:
    from flames.training import train

    norms = []
    for name, size, times in (("whole", 6, 1), ("parts", 2, 3)):
        chosen = options(bert, batch_size=size, accumulate=times, max_steps=10, epochs=9.0)
        train(parts(labels), chosen, tmp_path / name, TAXONOMY)
        history = json.loads((tmp_path / name / "training.json").read_text())["history"]
        norms.append(next(each["grad_norm"] for each in history if "grad_norm" in each))
    assert norms[1] == pytest.approx(norms[0], rel=0.5)  # dropout differs, and none is three times


def test_two_processes_train_one_model(bert: Path, labels: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-addr", "127.0.0.1", "--master-port", str(port), "-m", "flames",
            "scorer", "train", "--labels", str(labels), "--backbone", str(bert),
            "--out", str(tmp_path / "two"), "--test-models", "blue", "--val-models", "green",
            "--max-length", "48", "--epochs", "1", "--batch-size", "3", "--device", "cpu",
        ],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("its model card") == 1
    figures = json.loads((tmp_path / "two" / "evaluation-test.json").read_text())
    assert figures["results"][0]["overall"]["scored"] == 30
    history = json.loads((tmp_path / "two" / "training.json").read_text())["history"]
    assert history[-1]["step"] == 5  # 30 rows, 2 processes × 3
    assert opened(tmp_path / "two").info.id.startswith("two@")


def test_a_decoder_learns_through_adapters_that_are_merged(labels: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the extra train")
    from safetensors.torch import load_file

    from flames.training import train

    llama = tiny_models.backbone(tmp_path / "llama", "llama")
    chosen = options(llama, lora_rank=2, epochs=1.0, class_weights=True, label_smoothing=0.1)
    result = train(parts(labels), chosen, tmp_path / "out", TAXONOMY)
    assert result is not None
    assert read_settings(tmp_path / "out").pooling == "last"
    before, after = load_file(llama / "model.safetensors"), weights(tmp_path / "out")
    assert {f"backbone.{name}" for name in before} == {n for n in after if "classifiers" not in n}
    moved = {name for name in before if not torch.equal(before[name], after[f"backbone.{name}"])}
    assert "layers.0.self_attn.q_proj.weight" in moved
    assert "embed_tokens.weight" not in moved
    opened(tmp_path / "out")


def test_only_the_last_layers_move_where_that_is_asked(
    bert: Path, labels: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from flames.training import train

    chosen = options(bert, train_layers=1, max_steps=2)
    train(parts(labels), chosen, tmp_path / "out", TAXONOMY)
    before, after = load_file(bert / "model.safetensors"), weights(tmp_path / "out")
    moved = {
        name for name, tensor in before.items()
        if not torch.equal(tensor, after.get(f"backbone.{name}", tensor))
    }  # fmt: skip
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


@pytest.mark.parametrize("kind", ["bert", "gemma3_text"])
def test_a_backbone_may_be_cut_to_its_first_layers(labels: Path, tmp_path: Path, kind: str) -> None:
    from flames.training import train

    whole = tiny_models.backbone(tmp_path / "whole", kind)
    chosen = options(whole, layers=(1,), max_steps=2, bf16=kind != "bert", pooling="mean")
    train(parts(labels), chosen, tmp_path / "out", TAXONOMY)
    names = {name for name in weights(tmp_path / "out") if "layer" in name}
    assert any(".0." in name for name in names)
    assert not any(".1." in name for name in names if "classifiers" not in name)
    opened(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (3,)}, "--layers 3: the backbone has 2 layers"),
        (
            {"learning_rate": 1e30},
            r"the loss became nan at step \d+: lower --learning-rate \(1e\+30\)$",
        ),
        ({"learning_rate": 1e30, "bf16": True}, r"\(1e\+30\), or compute without --bf16$"),
        ({"train_layers": 9}, "--train-layers 9: the backbone has 2 layers"),
        ({"max_length": 1000}, "reads at most 512 tokens, not 1000"),
        ({"pooling": "last", "device": "tpu9"}, "unknown device"),
        ({"pooling": "last", "device": "cuda:1"}, "cuda:1"),
        ({"attention": "flash"}, "--attention flash needs a CUDA device; omit it"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(
    bert: Path, labels: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    from flames.training import train

    with pytest.raises(UsageError, match=message) as caught:
        train(parts(labels), options(bert, **changes), tmp_path / "out", TAXONOMY)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "this backbone cannot be used on such texts"),
        ({"bf16": True}, "compute without --bf16"),
        ({"dtype": "bfloat16"}, "load it with --dtype float32"),
        ({"frozen": True}, "the backbone's states are not finite: it cannot be used on such texts"),
        ({"frozen": True, "dtype": "bfloat16"}, "load it with --dtype float32"),
    ],
)
def test_a_backbone_that_overflows_is_reported_with_a_remedy(
    bert: Path, labels: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    from safetensors.torch import load_file, save_file

    from flames.training import train

    large = Path(shutil.copytree(bert, tmp_path / "large"))
    held = load_file(large / "model.safetensors")
    for name in held:
        if name.endswith("LayerNorm.weight"):
            held[name] = torch.full_like(held[name], 3e38)
    save_file(held, large / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=f"{message}$"):
        train(parts(labels), options(large, **changes), tmp_path / "out", TAXONOMY)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_reported(
    bert: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        "scorer", "train", "--labels", labels, "--backbone", bert, "--out", tmp_path / "out",
        "--test-models", "blue", "--device", "cuda",
    )  # fmt: skip
    assert code == 2
    assert "there is no cuda here" in capsys.readouterr().err


DIASAFETY = {
    "schema": 1, "name": "diasafety",
    "levels": [{"score": 2, "name": {"zh": "安全", "en": "Safe"}},
               {"score": 1, "name": {"zh": "不安全", "en": "Unsafe"}}],
    "dimensions": [
        {"name": name, "label": {"zh": name, "en": name}, "scale": [2, 1]}
        for name in ("Offending User", "Risk Ignorance", "Unauthorized Expertise",
                     "Toxicity Agreement", "Biased Opinion")
    ],
}  # fmt: skip


def test_another_taxonomy_goes_through_the_same_commands(
    bert: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taxonomy = tmp_path / "diasafety.json"
    taxonomy.write_text(json.dumps(DIASAFETY))
    files = []
    for name, every in (("train", 60), ("val", 20)):
        rows = json.loads((shared / "external" / "diasafety" / f"{name}.json").read_text())
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(rows[::every]))
    same = ("--taxonomy", taxonomy, "--map", "prompt=context,dimension=category,score=label")
    out = tmp_path / "dia"
    code = run(
        "scorer", "train", "--labels", files[0], "--labels", files[1], *same, "--backbone", bert,
        "--out", out, "--test-models", "val", "--max-length", 32, "--epochs", 1, "--device", "cpu",
        "--drop-leaks", "--quiet", "--skip-incomplete",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    assert read_settings(out).sizes == (2, 2, 2, 2, 2)
    assert "Not compared with lexical: lexical has no head" in (out / "README.md").read_text()
    capsys.readouterr()
    assert (
        run("scorer", "eval", out, "--labels", files[1], *same, "--json", "--ignore-selftest") == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert set(found["dimensions"]) == {each["name"] for each in DIASAFETY["dimensions"]}
    assert found["overall"]["scored"] == found["overall"]["n"] == 55
    assert run("scorer", "eval", out, "--labels", files[1], *same[2:]) == 2
    assert "unknown dimension" in capsys.readouterr().err
