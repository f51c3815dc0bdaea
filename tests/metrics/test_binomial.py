from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom, binom, binomtest

from flames.metrics.binomial import (
    allowed,
    chance,
    clopper_pearson,
    exact_share,
    needed,
    predictive,
    rate_for,
    successes_for,
)

few = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
counts = st.integers(1, 1200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=40, deadline=None)
@given(counts)
def test_exact_intervals_are_those_of_scipy(count: tuple[int, int]) -> None:
    k, n = count
    wanted = binomtest(k, n).proportion_ci(0.95, "exact")
    assert clopper_pearson(k, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    share = exact_share(k, n)
    assert share.low <= share.value <= share.high


@given(counts)
def test_exact_intervals_hold_the_tails_that_define_them(count: tuple[int, int]) -> None:
    k, n = count
    low, high = clopper_pearson(k, n)
    if k:
        assert binom.sf(k - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    if k < n:
        assert binom.cdf(k, n, high) == pytest.approx(0.025, rel=1e-6)


@given(counts, st.floats(0, 1))
def test_chances_are_binomial(count: tuple[int, int], rate: float) -> None:
    k, n = count
    assert chance(rate, n, k) == pytest.approx(binom.sf(k - 1, n, rate), abs=1e-10)


@given(few, few)
def test_averaged_chances_are_beta_binomial(own: tuple[int, int], new: tuple[int, int]) -> None:
    (m, of), (least, n) = own, new
    wanted = betabinom.sf(least - 1, n, m + 0.5, of - m + 0.5)
    assert predictive(m, of, n, least) == pytest.approx(wanted, abs=1e-7)


def test_an_averaged_chance_is_the_mean_over_the_posterior() -> None:
    posterior = beta(285.5, 15.5)
    grid = [(i + 0.5) / 400 for i in range(400)]
    mean = sum(chance(float(posterior.ppf(q)), 300, 285) for q in grid) / len(grid)
    assert predictive(285, 300, 300, 285) == pytest.approx(mean, abs=1e-3)


@given(counts.filter(lambda c: c[0] > 0), st.floats(0.01, 0.99))
def test_the_rate_for_an_assurance_gives_that_chance(
    count: tuple[int, int], assurance: float
) -> None:
    least, n = count
    assert chance(rate_for(assurance, n, least), n, least) == pytest.approx(assurance, abs=1e-6)


@given(st.integers(0, 5000), st.integers(0, 100))
def test_counts_that_are_asked_for_are_whole_numbers_without_rounding(n: int, cent: int) -> None:
    share = Fraction(n * cent, 100)
    assert needed(n, cent) == -(-share.numerator // share.denominator)
    assert allowed(n, cent) == share.numerator // share.denominator


def test_figures_of_the_official_draws() -> None:
    """A service that is truly at 95 % passes a draw of 300 little more often than not."""
    by_hand = sum(
        comb(300, k) * Fraction(19, 20) ** k * Fraction(1, 20) ** (300 - k) for k in range(285, 301)
    )
    assert chance(0.95, 300, needed(300, 95)) == pytest.approx(float(by_hand))
    assert f"{float(by_hand):.2f}" == "0.57"
    assert (needed(1000, 90), allowed(300, 5)) == (900, 15)
    assert rate_for(0.95, 300, 285) == pytest.approx(0.9663, abs=5e-5)
    assert rate_for(0.95, 1000, 900) == pytest.approx(0.9143, abs=5e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400).flatmap(
    lambda n: st.tuples(st.integers(1, n), st.just(n))
), st.floats(0.05, 0.99))  # fmt: skip
def test_the_least_number_of_an_own_draw_is_the_least(
    of: int, new: tuple[int, int], assurance: float
) -> None:
    least, n = new
    found = successes_for(assurance, of, n, least)
    if found is None:
        assert predictive(of, of, n, least) < assurance
        return
    assert predictive(found, of, n, least) >= assurance
    assert found == 0 or predictive(found - 1, of, n, least) < assurance


def test_ends_of_a_draw() -> None:
    assert (chance(0.3, 10, 0), chance(0.3, 10, 11), predictive(1, 2, 5, 6)) == (1, 0, 0)
    assert (predictive(0, 5, 5, 0), rate_for(0.95, 10, 0)) == (1, 0)
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(3, 2)
