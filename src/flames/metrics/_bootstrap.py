"""The bootstrap behind every interval that is not in closed form.

Resampling with multinomial weights has zero width where all observations are equal, and covers
too seldom near the ends of a scale. Here every prompt gets a random Gamma(1) weight instead
(the Bayesian bootstrap, Rubin 1981), and each stratum one pseudo-prompt at either end of the
scale with a Gamma(1/3) weight (the neutral prior of Kerman 2011, which keeps the median of the
draws at the estimate and so lets strata be added up). `benchmarks/coverage.py` measures what
this covers.

Prompts with equal outcomes are drawn together, since a sum of Gamma(1) weights is a Gamma(n)
weight: the cost depends on the number of different outcomes, not of prompts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRIOR = 1 / 3
"""Weight of the pseudo-prompt at either end."""

METHOD = "stratified bootstrap"


def stream(seed: int, *names: object) -> np.random.Generator:
    """A random stream of its own for each name, whatever else is drawn."""
    spelt = (str(name).encode("utf-8", "surrogatepass") for name in names)
    return np.random.default_rng([seed, *map(zlib.crc32, spelt)])


def draw_totals(
    outcomes: Array,
    ends: Array,
    resamples: int,
    rng: np.random.Generator,
    weights: Array | float = PRIOR,
) -> Array:
    """Weighted column totals of one stratum, resampled by prompt.

    Args:
        outcomes: One row a prompt, shape (prompts, columns); several responses to a prompt are
            summed up in its row.
        ends: The pseudo-prompts, shape (ends, columns), in the same units.
        resamples: How often to draw.
        rng: Where the randomness comes from.
        weights: Of the pseudo-prompts, one for all or shape (ends,).

    Returns:
        Totals, shape (resamples, columns). Divide one column by another for a share or a mean.
    """
    patterns, times = np.unique(outcomes, axis=0, return_counts=True)
    return draw_counted(patterns, times, ends, resamples, rng, weights)


def draw_counted(
    patterns: Array,
    times: NDArray[np.int64],
    ends: Array,
    resamples: int,
    rng: np.random.Generator,
    weights: Array | float = PRIOR,
) -> Array:
    """`draw_totals` for outcomes that are already counted: row `i` occurs `times[i]` times."""
    rows, place = np.unique(np.vstack([patterns, ends]), axis=0, return_inverse=True)
    own = np.concatenate([times, np.broadcast_to(weights, len(ends))])
    shapes = np.bincount(place, weights=own)  # equal rows are drawn together
    return np.asarray(rng.standard_gamma(shapes, size=(resamples, len(shapes))) @ rows)


def percentile_interval(
    draws: Array, value: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """The equal-tailed interval of the draws, widened to hold the estimate where it must."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return min(float(low), value), max(float(high), value)


def mean_of(draws: Iterable[Array]) -> Array:
    """The unweighted mean over strata, draw by draw."""
    parts = list(draws)
    return np.asarray(sum(parts[1:], start=parts[0]) / len(parts))
