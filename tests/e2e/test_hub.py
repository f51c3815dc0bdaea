"""The model hub: scorers and backbones by their names there, fetched and pushed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Hub, serving

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("sentencepiece", reason="needs the extra train")

import released_checkpoint
import tiny_labels
import tiny_models

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PUSH = """
import sys
from flames.scorers.trained.model import FlamesScorer
FlamesScorer.from_pretrained(sys.argv[1]).push_to_hub("org/mine")
"""
PREDICT = """
import json, sys
from flames.scorers.trained.model import FlamesScorer
rows = [{"dimension": "Safety", "prompt": "你好", "response": "好" * n} for n in (1, 9)]
print(json.dumps(FlamesScorer.from_pretrained(sys.argv[1]).predict_proba(rows)))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Run:
    """Python with the hub in the place of the real one, and a cache of its own."""

    def start(*words: object) -> subprocess.CompletedProcess[str]:
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_secret"}
        own |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(
            command, env={**os.environ, **own}, capture_output=True, text=True, check=False
        )

    return start


def test_the_released_scorer_is_imported_by_its_name(hub: Hub, run: Run, tmp_path: Path) -> None:
    folder = released_checkpoint.released(tmp_path / "released")
    (folder / "modeling_internlm.py").write_text("raise SystemExit('ran')")
    hub.add("org/flames-scorer", folder)
    words = ("-m", "flames", "scorer", "import", "--selftest", "off")
    done = run(*words, "org/flames-scorer", "--out", tmp_path / "by-name")
    assert done.returncode == 0, done.stderr
    assert "modeling_internlm.py" not in hub.fetched
    assert set(hub.fetched) == {p.name for p in folder.iterdir() if p.suffix != ".py"}
    assert run(*words, folder, "--out", tmp_path / "by-folder").returncode == 0
    by_name, by_folder = (
        {path.name: path.read_bytes() for path in (tmp_path / each).iterdir()}
        for each in ("by-name", "by-folder")
    )
    assert by_name == by_folder
    again = run(*words, "org/nothing", "--out", tmp_path / "none")
    assert again.returncode == 3
    assert "org/nothing cannot be downloaded" in again.stderr
    assert "Traceback" not in again.stderr
    assert "hf_secret" not in again.stderr


def test_a_scorer_is_pushed_and_loaded_by_its_name(hub: Hub, run: Run, tmp_path: Path) -> None:
    scorer = tiny_models.scorer(tmp_path / "mine")
    done = run("-c", PUSH, scorer)
    assert done.returncode == 0, done.stderr
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(
        hub.repositories["org/mine"]
    )
    here, there = run("-c", PREDICT, scorer), run("-c", PREDICT, "org/mine")
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)


def as_published(folder: Path) -> Path:
    """The weights in the form of 2019, which the documented default backbones still have."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    old = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    named = {}
    for name, tensor in weights.items():
        for new, then in old:
            name = name.replace(new, then)
        named[f"bert.{name}"] = tensor
    named["bert.embeddings.position_ids"] = torch.arange(512)[None]
    named["cls.seq_relationship.weight"] = torch.zeros(2, 32)
    torch.save(named, folder / "pytorch_model.bin")
    return folder


def test_a_backbone_is_trained_by_its_name(hub: Hub, run: Run, tmp_path: Path) -> None:
    hub.add("org/bert", as_published(tiny_models.backbone(tmp_path / "bert")))
    labels = tiny_labels.write(tmp_path / "labels.jsonl", tiny_labels.rows())
    words = ("-m", "flames", "scorer", "train", "--frozen", "--labels", labels)
    words += ("--backbone", "org/bert", "--test-models", "blue")
    done = run(*words, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Writing" not in done.stderr  # a bar of somebody else's
    assert "pytorch_model.bin" in hub.fetched
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "base_model: org/bert" in card
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert str(tmp_path) not in json.dumps(config)
