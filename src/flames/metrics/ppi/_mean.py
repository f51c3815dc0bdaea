"""The prediction-powered mean of one value, and what more labels would do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Powered:
    """A prediction-powered mean.

    Args:
        value: The estimate.
        tuning: λ, for the mean over everything.
        size: The labels' effective number.
        total: The number of responses.
        residual: The part of the variance that shrinks with the labels, times `size`.
        floor: The part that only more responses would shrink.
    """

    value: float
    tuning: float
    size: float
    total: int
    residual: float
    floor: float

    def variance(self, times: float = 1.0) -> float:
        """Of the estimate, with `times` as many labels, or everything labelled."""
        return self.residual / min(self.size * times, self.total) + self.floor


def powered_mean(human: Array, scorer: Array, everything: Array, weights: Array) -> Powered:
    """The prediction-powered mean.

    Args:
        human: What people said, shape (labelled,).
        scorer: What the scorer said of the same responses, shape (labelled,).
        everything: What it said of all responses, labelled ones included, shape (N,).
        weights: Inverse inclusion probabilities, up to a factor, shape (labelled,).
    """
    share = weights / weights.sum()
    labelled, total = len(human), len(everything)
    own, predicted = float(share @ human), float(share @ scorer)
    spread = float(everything.var(ddof=1)) if total > 1 else 0.0
    tuning = 0.0
    if spread > 0:
        most = total / (total - labelled) if total > labelled else 1.0
        covariance = float(share @ ((human - own) * (scorer - predicted)))
        tuning = min(max(covariance / spread, 0.0), most)
    residuals = human - own - tuning * (scorer - predicted)
    return Powered(
        value=tuning * float(everything.mean()) + own - tuning * predicted,
        tuning=tuning,
        size=1 / float((share * share).sum()),
        total=total,
        residual=float(share @ (residuals * residuals)),
        floor=tuning * tuning * spread / total,
    )


def times_for_width(fits: Sequence[Powered], now: float, wanted: float) -> float | None:
    """How many times as many labels bring an interval from one width to another.

    The width follows the root of the variance of the mean over `fits`.

    Returns:
        At least 1; None where labelling everything would not do.
    """
    start = sum(fit.variance() for fit in fits)

    def width(times: float) -> float:
        return float(now * np.sqrt(sum(fit.variance(times) for fit in fits) / start))

    if now <= wanted:
        return 1.0
    low, high = 1.0, max(fit.total / fit.size for fit in fits)
    if start <= 0 or width(high) > wanted:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if width(middle) <= wanted else (middle, high)
    return high
