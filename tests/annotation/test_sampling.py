"""Drawing: exact probabilities, every stratum served, the same seed the same sample."""

from __future__ import annotations

from collections import Counter

import annotating  # noqa: F401  (skips without the extra)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.annotation.create import allocate, draw
from flames.errors import UsageError


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.data())
def test_allocation_is_as_equal_as_the_strata_allow(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(len(sizes), sum(sizes)))
    shares = allocate(sizes, total)
    assert sum(shares) == total
    assert all(1 <= share <= size for share, size in zip(shares, sizes, strict=True))
    open_shares = [s for s, size in zip(shares, sizes, strict=True) if s < size]
    full = [s for s, size in zip(shares, sizes, strict=True) if s == size]
    if open_shares:
        assert max(open_shares) - min(open_shares) <= 1
        assert all(share <= max(open_shares) + 1 for share in full)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=80), st.integers(0, 5), st.data())
def test_a_draw_carries_exact_probabilities(
    strata: list[str], seed: int, data: st.DataObject
) -> None:
    items = list(enumerate(strata))
    sizes = Counter(strata)
    sample = data.draw(st.none() | st.integers(len(sizes), len(items)))
    drawn = draw(items, lambda item: item[1], sample, seed)
    assert drawn == draw(items, lambda item: item[1], sample, seed)
    assert len({each.item for each in drawn}) == len(drawn) == (sample or len(items))
    counts = Counter(each.stratum for each in drawn)
    for each in drawn:
        assert each.item[1] == each.stratum
        assert (each.drawn, each.size) == (counts[each.stratum], sizes[each.stratum])
    # The weights add up to the population, stratum by stratum.
    weights = Counter[str]()
    for each in drawn:
        weights[each.stratum] += each.size / each.drawn
    assert all(weights[name] == pytest.approx(size) for name, size in sizes.items())


def test_every_item_is_drawn_as_often_as_it_says() -> None:
    items = [(number, "few" if number < 5 else "many") for number in range(25)]
    hits = Counter(
        each.item for seed in range(2_000) for each in draw(items, lambda i: i[1], 8, seed)
    )
    probability = {
        each.stratum: each.drawn / each.size for each in draw(items, lambda i: i[1], 8, 0)
    }
    for item in items:
        expected = 2_000 * probability[item[1]]
        spread = np.sqrt(expected * (1 - probability[item[1]]))
        assert abs(hits[item] - expected) < 5 * spread + 1


def test_impossible_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be drawn from 3"):
        draw([1, 2, 3], str, 4, 0)
    with pytest.raises(UsageError, match="leaves strata empty: there are 3"):
        draw([1, 2, 3], str, 2, 0)
