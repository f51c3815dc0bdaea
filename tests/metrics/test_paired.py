from __future__ import annotations

from itertools import product
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.metrics.paired import (
    Outcomes,
    Pairs,
    detectable,
    difference_draws,
    fall_test,
    mcnemar_exact,
    sign_flip_test,
)

BENCHMARK = run_path(str(Path(__file__).parents[2] / "benchmarks" / "coverage.py"))
mcnemar_midp = BENCHMARK["mcnemar_midp"]  # what the benchmark compares our test with


def enumerated(better: int, worse: int) -> tuple[float, float]:
    """Exact and mid-p from all 2^m ways in which the changes could have fallen."""
    changes = better + worse
    tails = [min(sum(way), changes - sum(way)) for way in product((0, 1), repeat=changes)]
    less = min(better, worse)
    as_far = sum(tail <= less for tail in tails) / len(tails)
    same = sum(tail == less for tail in tails) / len(tails)
    return as_far, as_far - same / 2


@pytest.mark.parametrize("changes", range(13))
def test_mcnemar_is_full_enumeration(changes: int) -> None:
    for better in range(changes + 1):
        exact, midp = enumerated(better, changes - better)
        assert mcnemar_exact(better, changes - better) == pytest.approx(exact, abs=1e-12)
        if changes:
            assert mcnemar_midp(better, changes - better) == pytest.approx(midp, abs=1e-12)


def test_mcnemar_takes_large_counts_of_any_kind() -> None:
    counts = np.array([60, 400])
    for test in (mcnemar_exact, mcnemar_midp):
        assert test(counts[0], counts[0]) > 0.9
        assert 0 < test(counts[1], counts[1] - 40) < 0.2
        assert test(counts[1], counts[0]) < 1e-6


def test_mcnemar_matches_statsmodels() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for better, worse in ((0, 3), (10, 2), (40, 61), (5, 5), (0, 0)):
        expected = tables.mcnemar([[9, better], [worse, 9]], exact=True).pvalue
        assert mcnemar_exact(better, worse) == pytest.approx(min(expected, 1))


@pytest.mark.parametrize("n", [46, 76])
def test_the_headline_test_keeps_its_size(n: int) -> None:
    """Over every probability that a pair differs, by enumeration."""
    rejects = np.zeros(n + 1)
    for changes in range(n + 1):
        binomial = np.array([1.0])
        for _ in range(changes):
            binomial = np.convolve(binomial, [0.5, 0.5])
        p = [mcnemar_exact(better, changes - better) for better in range(changes + 1)]
        rejects[changes] = binomial[np.array(p) <= 0.05].sum()
    worst = 0.0
    for differing in np.linspace(0.01, 1, 100):
        weight = np.array([1.0])
        for _ in range(n):
            weight = np.convolve(weight, [1 - differing, differing])
        worst = max(worst, float(weight @ rejects))
    assert worst <= 0.05


@given(
    st.lists(
        st.lists(st.sampled_from([-1.0, -1 / 3, 0.0, 1 / 3, 1.0]), min_size=1, max_size=5),
        min_size=1,
        max_size=2,
    )
)
@settings(max_examples=30, deadline=None)
def test_sign_flips_match_full_enumeration(strata: list[list[float]]) -> None:
    differences = [np.array(own) for own in strata]
    flat = np.concatenate([own / len(own) for own in differences])
    observed = abs(flat.sum())
    ways = np.array(list(product((-1, 1), repeat=len(flat))))
    exact = float((np.abs(ways @ flat) >= observed - 1e-12).mean())
    drawn = sign_flip_test(differences, 20_000, np.random.default_rng(0))
    assert drawn == pytest.approx(exact, abs=0.015)


def test_sign_flips_of_harmless_or_not_are_mcnemar() -> None:
    differences = np.array([1.0] * 14 + [-1.0] * 4 + [0.0] * 28)
    drawn = sign_flip_test([differences], 50_000, np.random.default_rng(0))
    assert drawn == pytest.approx(mcnemar_exact(14, 4), abs=0.003)


def test_differences_have_an_interval_even_where_nothing_differs() -> None:
    same = Pairs(np.ones(46), np.ones(46))
    draws = difference_draws(same, 4000, np.random.default_rng(0))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert -0.08 < low < 0 < high < 0.08
    assert float(np.median(draws)) == pytest.approx(0, abs=0.005)


def test_what_a_sample_can_show_shrinks_with_its_size() -> None:
    rng = np.random.default_rng(1)

    def can_show(differences: np.ndarray) -> float:
        return detectable([Pairs(np.zeros(len(differences)), differences)])

    few, many = (rng.choice([-1.0, 0.0, 1.0], n) for n in (46, 46 * 16))
    assert can_show(few) / can_show(many) == pytest.approx(4, rel=0.2)
    assert 0 < can_show(np.zeros(46)) < 1
    assert can_show(np.ones(2)) == 1


def test_repeats_are_worth_what_the_prompts_show() -> None:
    rng = np.random.default_rng(3)

    def of(first: list[np.ndarray], second: list[np.ndarray]) -> Pairs:
        means = (np.array([own.mean() for own in side]) for side in (first, second))
        return Pairs(*means, responses=(Outcomes.of(first), Outcomes.of(second)))

    def width(pairs: Pairs) -> float:
        low, high = np.quantile(difference_draws(pairs, 2000, rng), [0.025, 0.975])
        return float(high - low)

    one = [(rng.random(1) < 0.5) * 1.0 for _ in range(40)]
    other = [(rng.random(1) < 0.5) * 1.0 for _ in range(40)]
    single = of(one, other)
    assert single.size == 40
    alike = of([np.repeat(x, 50) for x in one], [np.repeat(x, 50) for x in other])
    assert alike.size == 40
    assert width(alike) == pytest.approx(width(single), rel=0.1)
    apart = of(*([(rng.random(50) < 0.5) * 1.0 for _ in range(40)] for _ in range(2)))
    assert 900 < apart.size <= 2000
    assert width(apart) == pytest.approx(width(single) / 50**0.5, rel=0.35)
    assert detectable([apart]) < detectable([single]) / 4


def test_a_fall_is_tested_one_sided() -> None:
    rng = np.random.default_rng(0)
    fell = np.array([-1.0] * 8 + [1.0] + [0.0] * 8)
    assert fall_test([fell], 100, rng) == pytest.approx((1 + 9 / 2) / 512)
    assert fall_test([-fell], 100, rng) == pytest.approx(1 - (1 + 9 / 2) / 512)
    assert fall_test([np.zeros(9)], 100, rng) == 1
    by_draws = fall_test([fell, np.zeros(17)], 200_000, rng)
    assert by_draws == pytest.approx((1 + 9 / 2) / 512, abs=0.001)


def test_falls_are_called_about_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    single = several = 0
    for _ in range(2_000):
        strata = [rng.choice([-1.0, 0.0, 1.0], n, p=[0.2, 0.6, 0.2]) for n in (46, 76)]
        single += fall_test(strata[:1], 200, rng) < 0.05
        several += fall_test(strata, 400, rng) < 0.05
    assert 0.035 < single / 2_000 < 0.06
    assert 0.035 < several / 2_000 < 0.065
