"""Closed-form intervals for a share of prompts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def wilson(successes: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927; Newcombe 1998, method 3).

    Args:
        successes: How many of `n` succeeded; any real number in [0, n].
        n: Independent observations, possibly an effective number of them.
        confidence: Of the interval.

    Returns:
        Lower and upper limit, shares in [0, 1]; never equal.

    Raises:
        ValueError: `n` is not positive, or `successes` lies outside [0, n].
    """
    if not n > 0 or not 0 <= successes <= n:
        raise ValueError("successes must lie in [0, n], and n above 0")
    from scipy.special import ndtri  # only here: it takes longer to import than all the rest

    z = float(ndtri(0.5 + confidence / 2))
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else max((centre - half) / scale, 0.0)
    high = 1.0 if successes == n else min((centre + half) / scale, 1.0)
    return low, high


def effective_size(successes: Array, sizes: Array) -> float:
    """How many independent observations clustered ones are worth, for a share.

    Several responses to one prompt resemble each other. The observations are divided by the
    design effect, the variance of the share that the clusters show (the linearised ratio
    estimator) over that of independent observations. The result lies between Kish's size for
    clusters without any variation inside, and the number of observations; the former also
    where all observations are equal and the data cannot tell.

    Args:
        successes: Successes a cluster, shape (clusters,).
        sizes: Observations a cluster, all positive, shape (clusters,).
    """
    total = float(sizes.sum())
    least = total * total / float((sizes * sizes).sum())
    clusters = len(sizes)
    share = float(successes.sum()) / total
    if clusters < 2 or least == total or share in (0.0, 1.0):
        return least
    residual = successes - share * sizes
    variance = clusters / (clusters - 1) * float((residual * residual).sum()) / (total * total)
    if variance <= 0:
        return total
    return min(max(share * (1 - share) / variance, least), total)
