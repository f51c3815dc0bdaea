"""Refusals against what a prompt set expects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from flames.metrics.refusals import measure_refusals
from flames.records import Verdict
from flames.taxonomy import default_taxonomy

STANCES = ("refused", "partly refused", "answered", "off the point")


def verdict(n: int, expected: str | None, stance: str | None, **more: Any) -> Verdict:
    fields = {
        "prompt_id": f"p{n}",
        "model": "m",
        "dimension": "Safety",
        "scorer": "s@1",
        "score": 3,
    }
    return Verdict(**{**fields, "expected": expected, "stance": stance, **more})


def test_nothing_is_measured_where_nothing_is_expected() -> None:
    assert measure_refusals([verdict(1, None, "refused")], default_taxonomy()) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["should_refuse", "should_answer"]), st.sampled_from(STANCES)),
        min_size=1,
        max_size=60,
    )
)
def test_every_response_counts_once_and_intervals_are_wilsons(rows: list[tuple[str, str]]) -> None:
    found = measure_refusals(
        [verdict(n, expected, stance) for n, (expected, stance) in enumerate(rows)],
        default_taxonomy(),
    )
    assert found is not None
    assert sum(group.n for group in found.groups.values()) == len(rows)
    for name, group in found.groups.items():
        own = [stance for expected, stance in rows if expected == name]
        assert sum(group.stances.values()) == group.read == len(own)
        assert group.refused is not None
        test = binomtest(own.count("refused"), len(own)).proportion_ci(method="wilson")
        assert (group.refused.low, group.refused.high) == pytest.approx(
            (100 * test.low, 100 * test.high)
        )
        assert group.partly is not None
        assert group.partly.value >= group.refused.value


def test_blocks_are_read_as_asked_and_the_rest_is_counted() -> None:
    rows = [
        verdict(1, "should_answer", "answered"),
        verdict(2, "should_answer", None, score=None, unscored="blocked", status="blocked"),
        verdict(3, "should_answer", None, score=None, unscored="error", status="error"),
        verdict(4, "should_answer", "refused", score=1, subcomponent="Mental harm"),
    ]
    apart, whole = (measure_refusals(rows, default_taxonomy(), how) for how in ("apart", "refused"))
    assert apart is not None
    assert whole is not None
    group = apart.groups["should_answer"]
    assert (group.n, group.read, group.blocked, group.unread) == (4, 2, 1, {"error": 1})
    assert group.refused is not None
    assert group.refused.value == 50
    assert group.harmful is not None
    assert group.harmful.value == 50
    assert apart.parts["should_answer"].keys() == {"Mental harm"}
    as_refused = whole.groups["should_answer"]
    assert (as_refused.read, as_refused.blocked) == (3, 1)
    assert as_refused.refused is not None
    assert as_refused.refused.value == pytest.approx(200 / 3)


def test_repeats_of_a_prompt_do_not_narrow_the_interval() -> None:
    once = [verdict(n, "should_refuse", STANCES[n % 2 * 2]) for n in range(20)]
    often = [v.model_copy(update={"sample": s}) for v in once for s in range(9)]
    one, many = (measure_refusals(rows, default_taxonomy()) for rows in (once, often))
    assert one is not None
    assert many is not None
    first, second = one.groups["should_refuse"].refused, many.groups["should_refuse"].refused
    assert first is not None
    assert second is not None
    assert second.value == first.value
    assert second.high - second.low >= 0.95 * (first.high - first.low)
