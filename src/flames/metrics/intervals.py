"""Intervals: Wilson's for a share of prompts, and the bootstrap behind all others.

Resampling with multinomial weights has zero width where all observations are equal, and covers
too seldom near the ends of a scale. Here every prompt gets a random Gamma(1) weight instead
(the Bayesian bootstrap, Rubin 1981), and each stratum one pseudo-prompt at either end of the
scale with a Gamma(1/3) weight (the neutral prior of Kerman 2011, which keeps the median of the
draws at the estimate and so lets strata be added up). `benchmarks/coverage.py` measures what
this covers.

Several responses to a prompt are worth fewer independent ones. Their effective number stands in
Wilson's interval and is shared out among the outcomes that the bootstrap draws, so that rates,
scores and overall values have one sample size.

Prompts with equal outcomes are drawn together, since a sum of Gamma(1) weights is a Gamma(n)
weight: the cost depends on the number of different outcomes, not of prompts.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flames.metrics.result import Estimate

Array = NDArray[np.float64]


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Computes Wilson's 95 % score interval of a share (Wilson 1927; Newcombe 1998, method 3).

    `n` may be an effective number of observations. The limits are shares, and never equal.
    """
    if not n > 0 or not 0 <= successes <= n:
        raise ValueError("successes must lie in [0, n], and n above 0")
    z = NormalDist().inv_cdf(0.975)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else max((centre - half) / scale, 0.0)
    high = 1.0 if successes == n else min((centre + half) / scale, 1.0)
    return low, high


def effective_size(
    totals: Array, sizes: Array, spread: float | None = None, most: float | None = None
) -> float:
    """Returns how many independent observations clustered ones are worth, for their mean.

    That is the variance of a single observation over the variance of the mean that the clusters
    show (the linearised ratio estimator), less what their small number adds to its uncertainty
    (Korn & Graubard 1998: quantiles of Student's t). The result lies between Kish's size, which
    also stands where all observations are equal, and the number of observations.

    Args:
        totals: Sums of the observations per cluster, shape (clusters,).
        sizes: How many observations each cluster has, positive, shape (clusters,).
        spread: The variance of a single observation; for shares by default.
        most: The number of observations, by default the sum of `sizes`.
    """
    total = float(sizes.sum())
    most = total if most is None else most
    least = total * total / float((sizes * sizes).sum())
    clusters, mean = len(sizes), float(totals.sum()) / total
    spread = mean * (1 - mean) if spread is None else spread
    if clusters < 2 or least >= most or spread <= 0:
        return least
    from scipy.special import stdtrit  # only here: it takes longer to import than all the rest

    residual = totals - mean * sizes
    variance = clusters / (clusters - 1) * float((residual * residual).sum()) / (total * total)
    size = most if variance <= 0 else spread / variance
    few = float(stdtrit(most - 1, 0.975)) / float(stdtrit(clusters - 1, 0.975))
    return min(max(size * few * few, least), most)


def common_size(outcomes: Array, sizes: Array, spreads: Sequence[float]) -> float:
    """Returns one effective size for several values of the same observations: the smallest.

    Values that do not vary tell nothing, unless none does.

    Args:
        outcomes: Sums per cluster and value, shape (clusters, values).
        sizes: As in `effective_size`.
        spreads: The variance of a single observation, for each value.
    """
    found = [
        (spread > 0, effective_size(outcomes[:, column], sizes, spread))
        for column, spread in enumerate(spreads)
    ]
    return min((size for varied, size in found if varied), default=found[0][1])


def design_effect(values: Array, prompts: ArrayLike) -> float:
    """Returns how many observations are worth one independent one, by `common_size`.

    `values` have shape (observations, values), the ids of their `prompts` (observations,).
    """
    rows = sum_by_prompt(np.column_stack([values, np.ones(len(values))]), prompts)
    return len(values) / common_size(rows[:, :-1], rows[:, -1], values.var(axis=0).tolist())


PRIOR = 1 / 3
"""Weight of the pseudo-prompt at either end."""

_AT_ONCE = 1 << 23  # weights

METHOD = "stratified bootstrap"
BY_PROMPT = "effective size by prompt"
"""What a method's name adds where prompts have several responses."""


def stream(seed: int, *names: object) -> np.random.Generator:
    """Returns a random stream that depends only on seed and names."""
    spelt = (str(name).encode("utf-8", "surrogatepass") for name in names)
    return np.random.default_rng([seed, *map(zlib.crc32, spelt)])


def sum_by_prompt(rows: Array, prompts: ArrayLike) -> Array:
    """Adds up rows of the same prompt, shape (prompts, columns); `prompts` has one id per row."""
    if isinstance(prompts, list):  # sorting millions of texts takes longer than all the rest
        number_of = {known: n for n, known in enumerate(sorted(set(prompts)))}
        place = np.array([number_of[each] for each in prompts])
    else:
        _, place = np.unique(prompts, return_inverse=True)
    return np.column_stack([np.bincount(place, weights=column) for column in rows.T])


def draw_totals(
    outcomes: Array,
    ends: Array,
    resamples: int,
    rng: np.random.Generator,
    weights: Array | float = PRIOR,
) -> Array:
    """Draws weighted column totals of one stratum by prompt, shape (resamples, columns).

    Args:
        outcomes: One row per prompt, shape (prompts, columns), summed over its responses.
        ends: The pseudo-prompts, shape (ends, columns).
        weights: Weights of the pseudo-prompts, one for all or shape (ends,).
    """
    patterns, times = np.unique(outcomes, axis=0, return_counts=True)
    return draw_counted(patterns, times, ends, resamples, rng, weights)


def draw_counted(
    patterns: Array,
    times: NDArray[np.int64] | Array,
    ends: Array,
    resamples: int,
    rng: np.random.Generator,
    weights: Array | float = PRIOR,
) -> Array:
    """Draws as `draw_totals`, for outcomes with counts: row `i` occurs `times[i]` times.

    The counts may be effective ones, scaled to what the observations are worth.
    """
    rows, place = _distinct(np.vstack([patterns, ends]))
    own = np.concatenate([times, np.broadcast_to(weights, len(ends))])
    shapes = np.bincount(place, weights=own).astype(np.float64)  # equal rows are drawn together
    return draw_weighted(shapes, rows, resamples, rng)


def _distinct(rows: Array) -> tuple[Array, NDArray[np.int64]]:
    """Returns the different rows in order, and the place among them of each row.

    Does what `np.unique` does along an axis, which takes several times as long for few rows.
    """
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return ordered[new], place


def draw_weighted(
    shapes: Array | float, rows: Array, resamples: int, rng: np.random.Generator
) -> Array:
    """Draws totals of the rows with Gamma weights of these shapes, shape (resamples, columns).

    The weights of all draws need not fit into memory.
    """
    step = max(1, _AT_ONCE // len(rows))
    drawn = [
        rng.standard_gamma(shapes, (min(step, resamples - done), len(rows))) @ rows
        for done in range(0, resamples, step)
    ]
    return np.concatenate(drawn)


def percentile_interval(draws: Array, value: float) -> tuple[float, float]:
    """Returns the equal-tailed 95 % interval of the draws, widened to hold the estimate."""
    tail = (1 - 0.95) / 2
    ordered = np.sort(draws)
    return min(_quantile(ordered, tail), value), max(_quantile(ordered, 1 - tail), value)


def _quantile(ordered: Array, share: float) -> float:
    """Returns what `np.quantile` does, which takes several times as long."""
    place = (len(ordered) - 1) * share
    before = int(place)
    low, high = float(ordered[before]), float(ordered[min(before + 1, len(ordered) - 1)])
    part = place - before
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def bootstrap_estimate(value: float, draws: Array, method: str) -> Estimate:
    """Returns a value with the interval of its draws; undefined ones (NaN) do not count."""
    low, high = percentile_interval(draws[~np.isnan(draws)], value)
    return Estimate(value=value, low=low, high=high, method=method)


def mean_of(draws: Iterable[Array]) -> Array:
    """Returns the unweighted mean over strata, draw by draw."""
    parts = list(draws)
    return np.asarray(sum(parts[1:], start=parts[0]) / len(parts))


def share_by_prompt(found: Sequence[tuple[str, bool]]) -> Estimate | None:
    """Returns a share in per cent with Wilson's interval, at the effective sample size.

    `found` are hits and misses, each with the prompt that it belongs to.
    """
    if not found:
        return None
    rows = np.array([[hit, 1.0] for _, hit in found])
    sums = sum_by_prompt(rows, [prompt for prompt, _ in found])
    repeated = len(sums) < len(found)
    size = effective_size(sums[:, 0], sums[:, 1]) if repeated else float(len(found))
    share = float(rows[:, 0].mean())
    low, high = wilson(share * size, size)
    method = f"wilson, {BY_PROMPT}" if repeated else "wilson"
    return Estimate(value=100 * share, low=100 * low, high=100 * high, method=method)
