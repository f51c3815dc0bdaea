"""Which attention a training computes, and packing from labels to a scorer."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import tiny_labels
import tiny_models
from command import run

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("accelerate", reason="needs the extra train")

import torch

from flames.errors import InputError, UsageError
from flames.scorers.trained.packing import FLASH
from flames.training import TrainOptions, attention


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_labels.write(tmp_path_factory.mktemp("labels") / "l.jsonl", tiny_labels.rows())


def trained(backbone: Path, labels: Path, out: Path, *more: object) -> dict[str, Any]:
    from safetensors.torch import load_file

    code = run(
        "scorer", "train", "--labels", labels, "--backbone", backbone, "--out", out,
        "--test-models", "blue", "--val-models", "green", "--max-length", 48, "--max-steps", 5,
        "--batch-size", 6, "--learning-rate", 2e-3, "--device", "cpu", *more,
    )  # fmt: skip
    assert code == 0
    return dict(load_file(out / "model.safetensors"))


def test_a_packed_training_ends_with_the_same_weights(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = tiny_models.backbone(tmp_path / "qwen3", "qwen3")  # has no dropout
    padded = trained(backbone, labels, tmp_path / "padded")
    assert "attention: sdpa\n" in capsys.readouterr().err
    packed = trained(backbone, labels, tmp_path / "packed", "--packing")
    assert "attention: sdpa, packed\n" in capsys.readouterr().err
    for name, tensor in padded.items():
        torch.testing.assert_close(packed[name], tensor, rtol=0, atol=1e-4)
    card = (tmp_path / "packed" / "README.md").read_text("utf-8")
    assert "- attention: sdpa\n" in card
    assert "- packing: True\n" in card


def test_a_backbone_that_cannot_be_packed_is_padded_and_says_so(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = tiny_models.backbone(tmp_path / "deberta", "deberta-v2")
    trained(backbone, labels, tmp_path / "out", "--packing")
    told = capsys.readouterr().err
    assert "--packing: deberta-v2 mixes up examples that share a row, so they are padded" in told
    assert "attention: eager\n" in told
    assert "- packing: False\n" in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("device", "fast", "capability", "installed", "lacks"),
    [
        ("cpu", True, 9, True, "a CUDA device"),
        ("cuda", False, 9, True, "--bf16"),
        ("cuda", True, 7, True, "a GPU with compute capability 8.0"),
        ("cuda", True, 8, False, "the package flash-attn, which is not installed"),
        ("cuda", True, 8, True, None),
    ],
)
def test_flash_attention_is_taken_where_it_is_installed_and_fits(
    monkeypatch: pytest.MonkeyPatch, device: str, fast: bool, capability: int, installed: bool,
    lacks: str | None,
) -> None:  # fmt: skip
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: installed)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (capability, 0))
    asked: list[str | None] = []

    def load(options: TrainOptions, settings: Any, name: str | None = None) -> str:
        asked.append(name)
        return "the model"

    monkeypatch.setattr(attention, "model_to_train", load)
    where, settings = types.SimpleNamespace(type=device), None
    options = TrainOptions(backbone="b", bf16=fast)
    assert attention.load_model(options, settings, where) == "the model"  # type: ignore[arg-type]
    assert asked == [FLASH if lacks is None else None]
    wanted = TrainOptions(backbone="b", bf16=fast, attention="flash")
    if lacks is None:
        attention.load_model(wanted, settings, where)  # type: ignore[arg-type]
        assert asked == [FLASH, FLASH]
    else:
        with pytest.raises(UsageError, match=f"--attention flash needs {lacks}"):
            attention.load_model(wanted, settings, where)  # type: ignore[arg-type]


def test_a_backbone_without_flash_attention_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(options: TrainOptions, settings: Any, name: str | None = None) -> str:
        if name == FLASH:
            raise InputError("is no usable backbone: X does not support Flash Attention 2 yet")
        return "the model"

    monkeypatch.setattr(attention, "model_to_train", load)
    monkeypatch.setattr(attention, "flash_lacks", lambda options, device: None)
    options = TrainOptions(backbone="b", bf16=True)
    assert attention.load_model(options, None, None) == "the model"  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Flash Attention"):
        attention.load_model(TrainOptions(backbone="b", attention="flash"), None, None)  # type: ignore[arg-type]
