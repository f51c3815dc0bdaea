from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import CheckFailed, InputError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerContext, ScorerInfo, score_stream
from flames.scorers.labelled import LabelledSet
from flames.scorers.registry import load_scorer
from flames.scorers.selftest import (
    ensure_selftest,
    load_pairs,
    pairs_for,
    run_selftest,
)
from flames.taxonomy import Taxonomy, default_taxonomy

PAIRS = load_pairs()
RIGHT = {row.key: row.score for row in PAIRS.rows}
TAXONOMY = default_taxonomy()


class Ruled:
    """A scorer that judges by a rule and counts how often it was asked."""

    def __init__(self, rule: Callable[[Response], int | None], name: str = "ruled@1") -> None:
        self.info = ScorerInfo(id=name, title="", taxonomy=TAXONOMY.id)
        self.rule = rule
        self.asked = 0

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        self.asked += len(responses)
        return [self._verdict(response, self.rule(response)) for response in responses]

    def _verdict(self, response: Response, score: int | None) -> Verdict:
        unscored = None if score is not None else "no finite logits"
        return verdict_for(
            response,
            scorer=self.info.id,
            dimension=response.dimension or "",
            score=score,
            unscored=unscored,
        )


def knowing(response: Response) -> int | None:
    return RIGHT[response.key]


def other_taxonomy() -> Taxonomy:
    data = json.loads(TAXONOMY.model_dump_json(by_alias=True))
    data["name"] = "other"
    data["dimensions"] = [
        {"name": "Kindness", "label": {"zh": "善意", "en": "Kindness"}, "scale": [2, 1]}
    ]
    return Taxonomy.model_validate(data)


def test_bundled_pairs_are_obvious_and_balanced() -> None:
    by_dimension = Counter(row.dimension for row in PAIRS.rows)
    assert by_dimension.keys() == set(TAXONOMY.names)
    assert min(by_dimension.values()) >= 10
    covered = {(row.dimension, row.response.subcomponent) for row in PAIRS.rows}
    assert covered == {(d.name, s.name) for d in TAXONOMY.dimensions for s in d.subcomponents}
    answers: dict[str, set[int | None]] = {}
    for row in PAIRS.rows:
        answers.setdefault(row.key.prompt_id, set()).add(row.score)
    # The prompt alone says nothing: each is answered once well and once badly.
    assert all(scores == {3, 1} for scores in answers.values())


def test_bundled_lexical_scorer_passes() -> None:
    outcome = run_selftest(load_scorer("lexical", ScorerContext()))
    assert outcome.passed, outcome.summary
    assert outcome.causes == ()


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        (lambda r: 3, "one score for everything"),
        (lambda r: 4 - (RIGHT[r.key] or 0), "upside down"),
        (lambda r: None, "cannot judge (no finite logits)"),
        (lambda r: 2 if r.dimension in TAXONOMY.names[:3] else RIGHT[r.key], "only Fairness"),
        (lambda r: 3 if r.key.prompt_id < "8" else 1, "another input template or tokenizer"),
    ],
)
def test_failures_are_told_with_their_likely_cause(
    rule: Callable[[Response], int | None], cause: str
) -> None:
    outcome = run_selftest(Ruled(rule))
    assert not outcome.passed
    assert cause in "; ".join(outcome.causes)


@given(st.integers(0, len(PAIRS.rows)))
def test_passes_from_eighty_per_cent_on(wrong: int) -> None:
    spoilt = {row.key for row in PAIRS.rows[:wrong]}

    def rule(response: Response) -> int | None:
        return None if response.key in spoilt else RIGHT[response.key]

    outcome = run_selftest(Ruled(rule))
    assert outcome.right == len(PAIRS.rows) - wrong
    assert outcome.passed == (outcome.right >= 0.8 * len(PAIRS.rows))


def test_one_score_for_nearly_all_fails_even_where_most_are_right() -> None:
    threes = [row for row in PAIRS.rows if row.score == 3]
    pairs = LabelledSet(tuple(threes), {"threes": "0" * 64})
    assert not run_selftest(Ruled(lambda r: 3), pairs).passed


def test_runs_once_for_the_same_weights() -> None:
    context = ScorerContext()
    for weights, asked in (("a", 64), ("a", 0), ("b", 64), ("a", 0)):
        scorer = Ruled(knowing)
        assert ensure_selftest(scorer, context, weights) is scorer
        assert scorer.asked == asked


def test_outcome_that_cannot_be_read_is_taken_again(tmp_path: Path) -> None:
    from flames.storage.home import home

    ensure_selftest(Ruled(knowing), ScorerContext(), "a")
    (kept,) = (home() / "selftest").iterdir()
    kept.write_text('{"schema": 1, "passed": tr')
    scorer = Ruled(knowing)
    ensure_selftest(scorer, ScorerContext(), "a")
    assert scorer.asked == 64


def test_failed_scorer_is_refused_unless_forced() -> None:
    with pytest.raises(CheckFailed, match=r"50 %.*100 %.*likely causes.*--ignore-self") as caught:
        ensure_selftest(Ruled(lambda r: 3), ScorerContext(), "a")
    assert caught.value.exit_code == 1
    scorer = ensure_selftest(
        Ruled(lambda r: 3), ScorerContext(options={"ignore_selftest": True}), "a"
    )
    (verdict,) = score_stream(scorer, [PAIRS.rows[0].response])
    assert verdict.to_dict()["selftest"] == "self-test failed"
    assert any("50 %" in str(note) for note in scorer.info.notes)


def test_another_taxonomy_brings_its_own_pairs_or_says_so(tmp_path: Path) -> None:
    context = ScorerContext(taxonomy=other_taxonomy())
    assert pairs_for(context) is None
    scorer = ensure_selftest(Ruled(lambda r: 2), context, "a")
    response = Response(prompt_id="1", model="m", dimension="Kindness", prompt="a", response="b")
    (verdict,) = score_stream(scorer, [response])
    assert verdict.to_dict()["selftest"] == "not self-tested"
    rows = [
        {"dimension": "Kindness", "prompt": f"p{n}", "response": f"r{score}", "score": score}
        for n in range(5)
        for score in (2, 1)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    context = ScorerContext(taxonomy=other_taxonomy(), options={"selftest": str(path)})
    good = Ruled(lambda r: int((r.response or "")[1:]))
    assert ensure_selftest(good, context, "a") is good
    assert good.asked == 10
    with pytest.raises(CheckFailed):
        ensure_selftest(Ruled(lambda r: 2, "worse@1"), context, "a")


def test_broken_pairs_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"dimension": "Safety", "prompt": "a", "response": "b", "score": 4}\n')
    with pytest.raises(InputError, match=r"pairs\.jsonl:1.*must be 3 or 2 or 1.*got 4"):
        load_pairs(path)
