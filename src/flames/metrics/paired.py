"""Two models on the same prompts: what differs, and whether chance would do it.

A positive difference means that the second one does better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flames.metrics.intervals import Array, draw_totals

PRIOR = 1 / 2
"""Weight of the two pseudo-prompts that differ all the way, one either way.

Where few pairs differ, the intervals need heavier ones than those of a single model.
"""

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
        no_better = float(bdtr(better, changes, 0.5))
        return (
            no_better
            - math.exp(
                math.lgamma(changes + 1)
                - math.lgamma(better + 1)
                - math.lgamma(worse + 1)
                - changes * math.log(2)
            )
            / 2
        )
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


def detectable(differences: Sequence[Array], widest: Sequence[float], alpha: float = 0.05) -> float:
    """Returns the least mean difference over strata that is detected with 80 % power.

    It supposes the variation of the pairs that there is, and never none.

    Args:
        differences: One array per stratum, one difference per prompt.
        widest: The largest difference that the scale of each stratum allows.
    """
    from scipy.special import ndtri  # only here: it is slow to import

    variance = 0.0
    for own, most in zip(differences, widest, strict=True):
        spread = (float((own * own).sum()) + 2 * PRIOR * most * most) / (len(own) + 2 * PRIOR)
        variance += spread / len(own)
    quantiles = float(ndtri(1 - alpha / 2)) + float(ndtri(POWER))
    most = sum(widest) / len(widest)
    return min(quantiles * math.sqrt(variance) / len(differences), most)


@dataclass(frozen=True)
class Pairs:
    """One stratum: mean values of two models per prompt, shape (prompts,), within [low, high]."""

    first: Array
    second: Array
    low: float = 0.0
    high: float = 1.0

    @property
    def differences(self) -> Array:
        """Second less first."""
        return self.second - self.first

    @property
    def widest(self) -> float:
        """The largest possible difference."""
        return self.high - self.low


def difference_draws(pairs: Pairs, resamples: int, rng: np.random.Generator) -> Array:
    """Draws the mean difference by prompt; two pseudo-prompts differ as far as possible."""
    rows = np.column_stack([pairs.differences, np.ones(len(pairs.first))])
    ends = np.array([[pairs.widest, 1.0], [-pairs.widest, 1.0]])
    totals = draw_totals(rows, ends, resamples, rng, PRIOR)
    return np.asarray(totals[:, 0] / totals[:, 1])
