"""Two models on the same prompts: what differs, and whether chance would do it.

A positive difference means that the second one does better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flames.metrics.codes import Rows, first_rows
from flames.metrics.intervals import (
    Array,
    bootstrap_estimate,
    draw_counted,
    effective_size,
    mean_of,
)
from flames.metrics.result import Estimate

PRIOR = 1 / 2
"""Weight of the two pseudo-prompts that differ all the way, one either way.

Where few pairs differ, the intervals need heavier ones than those of a single model.
"""

INTERVAL = "paired bootstrap by prompt"
MCNEMAR = "McNemar, exact"
SIGN_FLIP = "sign-flip permutation by prompt"

POWER = 0.8
"""With what probability a test shows the minimum detectable difference."""


def mcnemar_exact(better: int, worse: int) -> float:
    """Computes the two-sided p value of McNemar's exact test, which never exceeds its level."""
    better, worse = int(better), int(worse)
    changes = better + worse
    if changes == 0:
        return 1.0
    from scipy.special import bdtr  # slow to import

    return min(1.0, 2 * float(bdtr(min(better, worse), changes, 0.5)))


def sign_flip_test(differences: Sequence[Array], resamples: int, rng: np.random.Generator) -> float:
    """Tests the mean over strata of mean paired differences by permutation; two-sided.

    `differences` hold one array per stratum, one difference per prompt. The observed assignment
    counts as one of the drawn ones, so that the size does not exceed the nominal level (Phipson
    & Smyth 2010).
    """
    observed, drawn = _flipped(differences, resamples, rng)
    as_far = np.abs(drawn) >= abs(observed) - 1e-12
    return (1 + int(as_far.sum())) / (1 + resamples)


def _flipped(
    differences: Sequence[Array], resamples: int, rng: np.random.Generator
) -> tuple[float, Array]:
    """Returns the sum over strata of mean differences, and its draws with signs at random."""
    observed = 0.0
    drawn = np.zeros(resamples)
    for own in differences:
        observed += float(own.mean())
        sizes, times = np.unique(np.abs(own), return_counts=True)
        for size, count in zip(sizes, times, strict=True):
            if size > 0:
                flips = rng.binomial(int(count), 0.5, resamples)
                drawn += size * (2.0 * flips - count) / len(own)
    return observed, drawn


def fall_test(differences: Sequence[Array], resamples: int, rng: np.random.Generator) -> float:
    """Tests one-sided whether the mean over strata of mean paired differences is below 0.

    A mid-p value: outcomes as extreme as the observed one count half, so that a fall is reported
    in about 5 % of the cases without one, not in far fewer (Lancaster 1961; Fagerland, Lydersen &
    Laake 2013). Exact for one stratum of prompts that turned better or worse, else by permutation
    as in `sign_flip_test`.
    """
    if not any(own.any() for own in differences):
        return 1.0
    [first, *others] = differences
    if not others and np.isin(first, (-1, 0, 1)).all():
        from scipy.special import bdtr  # slow to import

        better, worse = int((first > 0).sum()), int((first < 0).sum())
        changes = better + worse
        fewer = float(bdtr(better - 1, changes, 0.5)) if better else 0.0
        return (fewer + float(bdtr(better, changes, 0.5))) / 2
    observed, drawn = _flipped(differences, resamples, rng)
    below = int((drawn < observed - 1e-12).sum())
    alike = int((np.abs(drawn - observed) <= 1e-12).sum())
    return (below + (1 + alike) / 2) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p values by Holm's step-down method (1979), in the given order."""
    corrected = [0.0] * len(p_values)
    worst = 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for step, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - step) * p_values[i]))
        corrected[i] = worst
    return corrected


@dataclass(frozen=True)
class Outcomes:
    """What the responses of one model are worth, those to one prompt after those to another.

    Args:
        codes: For each response the number of its value in `levels`.
        levels: The values, few.
        counts: How many responses each prompt has, at least one.
    """

    codes: NDArray[np.integer[Any]]
    levels: Array
    counts: Rows

    @classmethod
    def of(cls, values: Sequence[Array]) -> Outcomes:
        """Returns the outcomes of an array of values for each prompt."""
        levels, codes = np.unique(np.concatenate(values), return_inverse=True)
        return cls(codes, levels, np.array([len(own) for own in values], dtype=np.int64))

    def taken(self, prompts: Rows) -> Outcomes:
        """Returns the outcomes of some of the prompts, in the given order."""
        counts = self.counts[prompts]
        if len(self.codes) == len(self.counts):
            return Outcomes(self.codes[prompts], self.levels, counts)
        starts = (np.cumsum(self.counts) - self.counts)[prompts]
        rows = np.arange(int(counts.sum())) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        return Outcomes(self.codes[rows], self.levels, counts)

    def means(self) -> Array:
        """Returns the mean of each prompt."""
        values = np.asarray(self.levels[self.codes], dtype=np.float64)
        if len(values) == len(self.counts):
            return values
        starts, means = np.cumsum(self.counts) - self.counts, np.empty(len(self.counts))
        for n in np.flatnonzero(np.bincount(self.counts)).tolist():
            prompts = np.flatnonzero(self.counts == n)
            means[prompts] = values[starts[prompts][:, None] + np.arange(n)].mean(axis=1)
        return means

    def counted(self) -> tuple[Rows, Rows, Rows, list[float]]:
        """Returns prompt, value and number of all equal responses to a prompt, as they come.

        A value is the place in the list that stands last.
        """
        levels, level_of = np.unique(self.levels, return_inverse=True)
        key = np.repeat(np.arange(len(self.counts)), self.counts) * len(levels)
        key += level_of[self.codes]
        first, place = first_rows(key, len(self.counts) * len(levels))
        order = np.argsort(first, kind="stable")
        prompts, values = np.divmod(key[first[order]], len(levels))
        return prompts, values, np.bincount(place)[order], levels.tolist()


@dataclass(frozen=True)
class Pairs:
    """One stratum: mean values of two models per prompt, shape (prompts,), within [low, high].

    With several responses to a prompt, `responses` has the values of each, of either model.
    """

    first: Array
    second: Array
    low: float = 0.0
    high: float = 1.0
    responses: tuple[Outcomes, Outcomes] | None = None

    @cached_property
    def differences(self) -> Array:
        """Second less first."""
        return self.second - self.first

    @property
    def widest(self) -> float:
        """The largest possible difference."""
        return self.high - self.low

    @cached_property
    def singles(self) -> tuple[Array, Array]:
        """What a single response of each differs by, and how often, as shares."""
        if self.responses is None:
            values, times = np.unique(self.differences, return_counts=True)
            return values, times / len(self.first)
        values, prompts = _singles(*self.responses)
        return values, prompts / len(self.first)

    @cached_property
    def size(self) -> float:
        """How many pairs of single responses all of them are worth."""
        if self.responses is None:
            return float(len(self.first))
        values, shares = self.singles
        spread = float(shares @ (values - shares @ values) ** 2)
        most = float(np.maximum(*(side.counts for side in self.responses)).sum())
        return effective_size(self.differences, np.ones(len(self.first)), spread, most)


def _singles(first: Outcomes, second: Outcomes) -> tuple[Array, Array]:
    """Returns what a single response of each differs by, and on how many prompts' worth of them."""
    (prompts, ours, n, low), (of, theirs, m, high) = first.counted(), second.counted()
    partners = np.bincount(of)
    own = partners[prompts]
    one = np.repeat(np.arange(len(prompts)), own)  # each with all of the same prompt
    start = (np.cumsum(partners) - partners)[prompts] - (np.cumsum(own) - own)
    other = np.arange(len(one)) + start[one]
    shares = n[one] * m[other] / (first.counts * second.counts)[prompts[one]]
    pair = ours[one] * len(high) + theirs[other]
    rows, place = first_rows(pair, len(low) * len(high))
    gaps: dict[float, int] = {}
    gap_of = np.empty(len(rows), dtype=np.int64)
    for at in np.argsort(rows).tolist():
        a, b = divmod(int(pair[rows[at]]), len(high))
        gap_of[at] = gaps.setdefault(round(high[b] - low[a], 12), len(gaps))
    return np.array(list(gaps)), np.bincount(gap_of[place], weights=shares).astype(np.float64)


def difference_draws(pairs: Pairs, resamples: int, rng: np.random.Generator) -> Array:
    """Draws the mean difference by prompt; two pseudo-prompts differ as far as possible."""
    values, shares = pairs.singles
    rows = np.column_stack([values, np.ones(len(values))])
    ends = np.array([[pairs.widest, 1.0], [-pairs.widest, 1.0]])
    totals = draw_counted(rows, shares * pairs.size, ends, resamples, rng, PRIOR)
    return np.asarray(totals[:, 0] / totals[:, 1])


class Tested(NamedTuple):
    """Two means over strata in per cent, their difference in points, and its test."""

    first: float
    second: float
    difference: Estimate
    p: float
    test: str


def tested_difference(
    strata: Sequence[Pairs], rng: Callable[..., np.random.Generator], resamples: int
) -> Tested:
    """Tests the mean difference: McNemar on one stratum of binary pairs, sign flips on others."""
    draws = [difference_draws(own, resamples, rng("draw", i)) for i, own in enumerate(strata)]
    first, second = (
        float(np.mean([values.mean() for values in side]))
        for side in ([own.first for own in strata], [own.second for own in strata])
    )
    gap = bootstrap_estimate(100 * (second - first), 100 * mean_of(draws), INTERVAL)
    differences = [own.differences for own in strata]
    if len(strata) == 1 and np.isin([strata[0].first, strata[0].second], (0, 1)).all():
        p = mcnemar_exact(int((differences[0] > 0).sum()), int((differences[0] < 0).sum()))
        return Tested(100 * first, 100 * second, gap, p, MCNEMAR)
    p = sign_flip_test(differences, resamples, rng("flip"))
    return Tested(100 * first, 100 * second, gap, p, SIGN_FLIP)


def detectable(strata: Sequence[Pairs], alpha: float = 0.05) -> float:
    """Returns the least mean difference over strata that is detected with 80 % power.

    It supposes the variation of the pairs that there is, and never none.
    """
    from scipy.special import ndtri  # only here: it is slow to import

    variance = 0.0
    for own in strata:
        values, shares = own.singles
        squares = float(shares @ values**2) * own.size
        spread = (squares + 2 * PRIOR * own.widest**2) / (own.size + 2 * PRIOR)
        variance += spread / own.size
    quantiles = float(ndtri(1 - alpha / 2)) + float(ndtri(POWER))
    most = sum(own.widest for own in strata) / len(strata)
    return min(quantiles * math.sqrt(variance) / len(strata), most)
