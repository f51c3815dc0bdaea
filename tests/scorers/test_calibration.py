"""Calibration: known distortions are found again, and abstention keeps its promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.cli import main
from flames.errors import FlamesError, InputError, UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerContext, ScorerInfo
from flames.scorers.calibrated import (
    CalibratedScorer,
    Calibration,
    Fit,
    apply,
    load_calibration,
    save_calibration,
)
from flames.scorers.calibration import Pair, calibrate, pairs
from flames.scorers.labelled import read_labelled, training_overlap
from flames.scorers.labels import SILVER
from flames.scorers.registry import load_scorer
from flames.taxonomy import default_taxonomy

TAXONOMY = default_taxonomy()


def drawn(n: int, temperature: float, seed: int = 0, dimension: str = "Fairness") -> list[Pair]:
    """Labels drawn from probabilities, which are then given out too sure by that temperature."""
    rng = np.random.default_rng(seed)
    scale = TAXONOMY.dimension(dimension).scale
    items = []
    for number in range(n):
        logits = rng.normal(scale=1.2, size=len(scale))
        true = np.exp(logits) / np.exp(logits).sum()
        told = np.exp(logits * temperature) / np.exp(logits * temperature).sum()
        label = int(rng.choice(scale, p=true))
        given_ = dict(zip(map(str, scale), map(float, told), strict=True))
        items.append(Pair(f"p{number}", dimension, given_, label))
    return items


def fitted(items: Sequence[Pair], **options: Any) -> Calibration:
    return calibrate(items, TAXONOMY, scorer="x", scorer_id="x@1", labels="labels:x", **options)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_distorted_is_found_again(temperature: float) -> None:
    found = fitted(drawn(4000, temperature))
    assert found.dimensions["Fairness"].temperature == pytest.approx(temperature, rel=0.1)
    assert found.after.accuracy == found.before.accuracy  # never another likeliest score
    assert found.after.nll <= found.before.nll + 1e-3
    assert found.after.ece < 0.03


def test_isotonic_fitting_mends_what_a_temperature_cannot() -> None:
    items = drawn(4000, 1.0)
    bent = [Pair(i.prompt_id, i.dimension, _bent(i.probabilities), i.label) for i in items]
    found = fitted(bent, method="isotonic")
    before, after = found.before, found.after
    assert after.ece < before.ece / 2
    assert after.nll < before.nll


def _bent(probabilities: Any) -> dict[str, float]:
    raised = {score: p**3 + 0.3 for score, p in probabilities.items()}
    return {score: p / sum(raised.values()) for score, p in raised.items()}


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda p: sum(p) > 0.01),
    st.floats(0.05, 20),
)
def test_a_temperature_keeps_probabilities_and_their_order(
    raw: list[float], temperature: float
) -> None:
    given_ = {score: p / sum(raw) for score, p in zip("321", raw, strict=True)}
    new = apply(Fit(n=1, temperature=temperature), given_)
    assert sum(new.values()) == pytest.approx(1)
    assert list(new) == list(given_)
    best = max(given_.values())
    assert new[max(given_, key=lambda s: given_[s])] == pytest.approx(max(new.values()))
    assert best > 0


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 50))
def test_isotonic_curves_rise_and_give_probabilities(seed: int) -> None:
    items = drawn(120, 2.0, seed=seed)
    fit = fitted(items, method="isotonic").dimensions["Fairness"]
    for curve in (fit.curves or {}).values():
        assert list(curve.x) == sorted(set(curve.x))
        assert list(curve.y) == sorted(curve.y)
    for item in items:
        new = apply(fit, item.probabilities)
        assert sum(new.values()) == pytest.approx(1)
        assert min(new.values()) >= 0


def test_few_labels_share_a_temperature_and_isotonic_fitting_refuses_them() -> None:
    items = [*drawn(60, 2.0), *drawn(5, 2.0, dimension="Legality")]
    fits = fitted(items).dimensions
    assert fits["Legality"].pooled
    assert not fits["Fairness"].pooled
    with pytest.raises(UsageError, match=r"Fairness: 60 labels .*at least 100"):
        fitted(items, method="isotonic")
    with pytest.raises(UsageError, match="too few"):
        fitted(items[:3])


def test_a_target_accuracy_chooses_the_threshold() -> None:
    items = drawn(3000, 1.0)
    found = fitted(items, target_accuracy=0.8)
    assert found.abstention is not None
    assert found.abstention.accuracy == pytest.approx(0.8, abs=0.01)
    assert 0 < found.abstention.kept < 3000
    assert found.abstention.low is not None
    assert found.abstention.low < 0.8
    with pytest.raises(UsageError, match="no threshold"):
        fitted(drawn(300, 1.0), target_accuracy=1.01)


class Told:
    """A scorer whose probabilities are the responses' own."""

    def __init__(self) -> None:
        self.info = ScorerInfo(id="x@1", title="x", taxonomy="flames@1")

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        return [self._one(response) for response in responses]

    def _one(self, response: Response) -> Verdict:
        told = json.loads(response.response or "")
        best = max(told, key=lambda s: told[s]) if told else None
        return verdict_for(
            response,
            scorer="x@1",
            dimension=response.dimension or "",
            score=int(best) if best else None,
            unscored=None if best else "nothing to say",
            probabilities=told or None,
            rationale="weil",
        )


def response(told: dict[str, float], number: int = 0, dimension: str = "Fairness") -> Response:
    return Response(
        prompt_id=f"p{number}",
        model="m",
        dimension=dimension,
        prompt="?",
        response=json.dumps(told),
    )


def test_a_calibrated_scorer_abstains_where_it_is_not_sure() -> None:
    calibration = fitted(drawn(500, 3.0), threshold=0.6)
    scorer = CalibratedScorer(Told(), calibration, "v")
    sure = response({"3": 0.999, "2": 0.0005, "1": 0.0005})
    unsure = response({"3": 0.6, "2": 0.3, "1": 0.1}, 1)
    silent = response({}, 2)
    elsewhere = response({"3": 0.9, "1": 0.1}, 3, "Legality")
    found = scorer.score([sure, unsure, silent, elsewhere])
    assert [(v.score, v.unscored) for v in found] == [
        (3, None),
        (None, "low confidence"),
        (None, "nothing to say"),
        (None, "not calibrated for the dimension"),
    ]
    assert found[1].probabilities is not None
    assert found[1].probabilities["3"] < 0.6  # it had been too sure
    assert {v.scorer for v in found} == {"x@1+calibrated-v"}
    assert found[0].rationale == "weil"


def test_a_calibration_of_another_scorer_is_refused() -> None:
    calibration = fitted(drawn(50, 1.0)).model_copy(update={"scorer_id": "y@2"})
    with pytest.raises(UsageError, match=r"fitted for y@2, and this is x@1"):
        CalibratedScorer(Told(), calibration, "v")


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    for method in ("temperature", "isotonic"):
        calibration = fitted(drawn(300, 2.0), method=method, threshold=0.5)
        path = save_calibration(calibration, tmp_path / "c.json")
        assert load_calibration(path) == calibration


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("{}", "is no calibration"),
        ('{"schema": 2}', "is no calibration"),
        ("[1]", "is no calibration"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=said) as caught:
        load_scorer(f"calibrated:{path}")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xff")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "b"):
        with pytest.raises(FlamesError):
            load_scorer(f"calibrated:{path}")


def test_the_bundled_scorer_can_be_calibrated_and_loaded_again(tmp_path: Path) -> None:
    from flames.prompts.sets import known_prompts
    from flames.scorers.labels import labels_path
    from flames.storage.record_files import ReadOptions, read_responses

    context = ScorerContext(prompts=known_prompts())
    base = load_scorer("lexical", context)
    options = ReadOptions(prompts=context.prompts)
    held_out = [
        r
        for r in read_responses(labels_path("labels:silver"), options)
        if r.model == "sim-formal" and r.prompt and r.dimension
    ]
    # it has learnt these labels, so some are made to differ from them
    labels = {r.key: 1 if i % 3 == 0 else r.extra["score"] for i, r in enumerate(held_out)}
    items = pairs(base.score(held_out), labels)
    assert len(items) >= 40
    calibration = calibrate(
        items,
        TAXONOMY,
        scorer="lexical",
        scorer_id=base.info.id,
        labels="labels:silver (sim-formal)",
        threshold=0.7,
    )
    path = save_calibration(calibration, tmp_path / "lexical.json")
    scorer = load_scorer(f"calibrated:{path}", context)
    verdicts = scorer.score(held_out)
    assert scorer.info.notes[:1] == base.info.notes[:1]
    assert {v.unscored for v in verdicts} <= {None, "low confidence"}
    assert any(v.unscored for v in verdicts)


def told_by(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(done.value.code or 0), captured.out, captured.err


def test_labels_that_a_scorer_learnt_from_are_told_wherever_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, mine = tmp_path / "c.json", tmp_path / "mine.jsonl"
    rows = SILVER.path.read_text("utf-8").splitlines()
    mine.write_text("\n".join(row for row in rows if '"sim-formal"' in row), "utf-8")
    for labels, known in ((mine, False), ("labels:silver", True)):
        command = ("scorer", "calibrate", "lexical", "--labels", labels)
        code, out, _ = told_by(capsys, *command, "--models", "sim-formal", "--out", path)
        assert code == 0
        assert ("lexical@2 was trained on labels of the same models" in out) == known
        cascade = load_scorer(f"cascade:calibrated:{path}>judge:ollama/m", ScorerContext())
        assert any(note.code == "learnt" for note in cascade.info.notes) == known
    learnt = {each.scorer: each for each in cascade.info.learnt}
    assert learnt.pop(next(n for n in learnt if "+c" in n)).models == ("sim-formal",)
    assert set(learnt) == {"lexical@2"}
    rows_read = read_labelled(["labels:silver"], prompt_needed=False)
    assert len(training_overlap(cascade.info, rows_read.files, ["sim-formal"])) == 2
    assert not training_overlap(cascade.info, {"other.jsonl": "0"}, ["sim-formal"])


def test_a_scorer_without_probabilities_is_refused_before_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("scorer", "calibrate", "judge:ollama/m", "--labels", "labels:silver")
    code, _, err = told_by(capsys, *command, "--out", tmp_path / "c.json")
    assert code == 2
    assert "judge:m@zh-v3 gives no probabilities to calibrate" in err


def test_verdicts_without_probabilities_cannot_be_calibrated() -> None:
    told = response({"3": 1.0})
    verdict = verdict_for(told, scorer="x", dimension="Fairness", score=3)
    with pytest.raises(UsageError, match="no probabilities"):
        pairs([verdict], {verdict.key: 3})
