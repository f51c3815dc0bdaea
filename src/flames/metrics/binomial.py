"""Exact figures of a share that is counted in a draw, and what they say of another draw.

A draw of n passes if at least k of them do. `chance` is the binomial probability of that at a
known rate. Where the rate is only known from m of N in an earlier draw, `predictive` averages the
chance over what that leaves open: the rate has the posterior Beta(m + 1/2, N - m + 1/2) (Jeffreys'
prior), and the number in the new draw is beta-binomial.
"""

from __future__ import annotations

import math

import numpy as np

from flames.metrics.result import Estimate

EXACT = "clopper-pearson"
PREDICTIVE = "beta-binomial, jeffreys prior"


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Computes the exact interval of a share (Clopper & Pearson 1934), by quantiles of the beta."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError("successes must lie in [0, n], and n above 0")
    from scipy.special import betaincinv  # only here: it takes longer to import than all the rest

    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def exact_share(successes: int, n: int) -> Estimate:
    """Returns a share in per cent with its exact 95 % interval."""
    low, high = clopper_pearson(successes, n)
    return Estimate(value=100 * successes / n, low=100 * low, high=100 * high, method=EXACT)


def needed(n: int, per_cent: int) -> int:
    """Returns the least number of n that is at least so many per cent; whole numbers throughout."""
    return -(-n * per_cent // 100)


def allowed(n: int, per_cent: int) -> int:
    """Returns the largest number of n that is at most so many per cent."""
    return n * per_cent // 100


def chance(rate: float, n: int, least: int) -> float:
    """Returns the probability of at least so many successes in n draws at a known rate."""
    if least <= 0:
        return 1.0
    if least > n:
        return 0.0
    from scipy.special import betainc

    return float(betainc(least, n - least + 1, rate))


def rate_for(assurance: float, n: int, least: int) -> float:
    """Returns the rate at which n draws hold at least so many successes with that probability."""
    if least <= 0:
        return 0.0
    from scipy.special import betaincinv

    return float(betaincinv(least, n - least + 1, assurance))


def predictive(successes: int, of: int, n: int, least: int) -> float:
    """Returns the probability of at least so many in n draws, after `successes` of an earlier draw.

    The rate is averaged over its posterior (see the module).
    """
    if least <= 0:
        return 1.0
    if least > n:
        return 0.0
    from scipy.special import betaln, gammaln

    a, b = successes + 0.5, of - successes + 0.5
    k = np.arange(least, n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return min(1.0, float(np.exp(ways + betaln(a + k, b + n - k) - betaln(a, b)).sum()))


def successes_for(assurance: float, of: int, n: int, least: int) -> int | None:
    """Returns the least number in a draw of `of` after which n more pass with that probability.

    None if not even all of them would do.
    """
    low, high = 0, of
    if predictive(of, of, n, least) < assurance:
        return None
    while low < high:
        middle = math.floor((low + high) / 2)
        if predictive(middle, of, n, least) >= assurance:
            high = middle
        else:
            low = middle + 1
    return low
