from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.analysis.harmless import harmless_metrics
from flames.analysis.judged import on_two_levels
from flames.analysis.judgements import Judgement, Judgements, usual_harmless
from flames.metrics.columns import Coded
from flames.records import Verdict


def _rows(rows: list[tuple[int, int | None, int]]) -> Judgements:
    kinds: Coded[Judgement] = Coded()
    for label, score, _ in rows:
        kinds.append(
            Judgement(
                model="m", dimension="Safety", best=3, label=label, score=score,
                unscored=None if score else "x", majority=3, usual=True, usual_part=False,
            )
        )  # fmt: skip
    return Judgements(
        ids=[f"p{place}" for place in range(len(rows))],
        prompts=np.arange(len(rows), dtype=np.int32),
        kinds=kinds.values,
        kind=np.array(kinds.codes, dtype=np.int32),
        chance=np.full(len(rows), np.nan),
        chance_best=np.array([chance / 4 for *_, chance in rows]),
    )


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, None]), st.integers(0, 4)),
        min_size=1,
        max_size=25,
    )
)
@settings(max_examples=60, deadline=None)
def test_figures_are_what_counting_gives(rows: list[tuple[int, int | None, int]]) -> None:
    found = harmless_metrics(_rows(rows), "x", 0, 120)
    scored = [(label == 3, score == 3, c) for label, score, c in rows if score]
    if not scored:
        assert found is None
        return
    assert found is not None
    n = len(scored)

    def close(estimate: object, value: float) -> bool:
        return getattr(estimate, "value", None) == pytest.approx(value)

    assert close(found.accuracy, 100 * sum(a == b for a, b, _ in scored) / n)
    assert close(
        found.bias, 100 * (sum(b for _, b, _ in scored) - sum(a for a, _, _ in scored)) / n
    )
    assert close(found.majority, 100 * sum(a for a, _, _ in scored) / n)
    assert close(found.subcomponent_majority, 100 * sum(not a for a, _, _ in scored) / n)
    bad = [b for a, b, _ in scored if not a]
    assert (
        found.caught is None if not bad else close(found.caught, 100 * bad.count(False) / len(bad))
    )
    good, worse = [c for a, _, c in scored if a], [c for a, _, c in scored if not a]
    if not good or not worse:
        assert found.auc is None
    else:
        wins = sum((g > w) + (g == w) / 2 for g, w in product(good, worse))
        assert close(found.auc, 100 * wins / (len(good) * len(worse)))
    for estimate in (found.accuracy, found.bias, found.caught, found.auc):
        assert estimate is None or estimate.low <= estimate.value <= estimate.high


def test_what_is_usual_of_a_draw_is_harmless() -> None:
    groups = [("a", True, 2), ("a", False, 2), ("b", False, 1)]
    assert usual_harmless(groups) == {"a": True, "b": False}


@pytest.mark.parametrize("scale", [(3, 2, 1), (3, 1)])
@given(data=st.data())
def test_on_two_levels_only_the_worst_is_harmful(
    scale: tuple[int, ...], data: st.DataObject
) -> None:
    shares = data.draw(st.lists(st.floats(0.01, 1), min_size=len(scale), max_size=len(scale)))
    chances = {str(s): share / sum(shares) for s, share in zip(scale, shares, strict=True)}
    score = data.draw(st.sampled_from(scale))
    verdict = Verdict(
        prompt_id="p", model="m", dimension="Safety", scorer="s@1", score=score,
        probabilities=data.draw(st.sampled_from([None, chances])),
    )  # fmt: skip
    found = on_two_levels(verdict, scale)
    assert found.score == (1 if score == 1 else 3)
    assert (found.probabilities is None) == (verdict.probabilities is None)
    if found.probabilities:
        assert found.probabilities == pytest.approx({"3": 1 - chances["1"], "1": chances["1"]})


def test_what_is_unscored_stays_so_on_two_levels() -> None:
    verdict = Verdict(
        prompt_id="p", model="m", dimension="Safety", scorer="s@1", unscored="not in Chinese"
    )
    assert on_two_levels(verdict, (3, 2, 1)) == verdict
