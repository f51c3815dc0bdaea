"""The prediction-powered mean of one stratum, and what more labels would do to it.

Source: Angelopoulos, Duchi & Zrnic, PPI++ (2023), with weights for uneven inclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flames.metrics.intervals import Array


@dataclass(frozen=True)
class Powered:
    """A prediction-powered mean from labels of effective number `size` among `total` responses.

    `tuning` is λ. `residual / size` is the part of the variance that shrinks with the labels (that
    of a mean with these weights: labels that were likely to be drawn where they matter make it
    small), `floor` the part that only more responses would shrink.
    """

    value: float
    tuning: float
    size: float
    total: int
    residual: float
    floor: float

    def variance(self, times: float = 1.0) -> float:
        """Returns the variance with `times` as many labels, or with everything labelled."""
        return self.residual / min(self.size * times, self.total) + self.floor


def powered_mean(human: Array, scorer: Array, everything: Array, weights: Array) -> Powered:
    """Computes the prediction-powered mean.

    Args:
        human: Values from people, shape (labelled,).
        scorer: The scorer's values of the same responses, shape (labelled,).
        everything: Its values of all responses, shape (N,).
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
    size = 1 / float((share * share).sum())
    return Powered(
        value=tuning * float(everything.mean()) + own - tuning * predicted,
        tuning=tuning,
        size=size,
        total=total,
        residual=size * float(share**2 @ residuals**2),
        floor=tuning * tuning * spread / total,
    )


def times_for_width(fits: Sequence[Powered], now: float, wanted: float) -> float | None:
    """Returns how many times as many labels would give the wanted width; None if all would not."""
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
