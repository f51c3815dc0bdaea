"""Coefficients of agreement, each also for many weighted resamples at once.

Sources: Krippendorff, Content Analysis (2004), chapter 11; Cohen 1960; Cohen 1968.

Ratings are a matrix of units × raters. Each unit adds a K × K matrix of coincidences: how often
its ratings pair one category with another, every rating counted once in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Level = Literal["nominal", "ordinal"]
Weights = Literal["linear", "quadratic"] | None


def coincidences(codes: NDArray[np.int64], k: int) -> Array:
    """Returns the coincidences of each unit, shape (units, K, K); zero with one rating."""
    counts = (codes[:, :, None] == np.arange(k)).sum(1).astype(float)
    ratings = counts.sum(1)
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(k)
    pairs[:, diagonal, diagonal] -= counts
    return np.asarray(pairs / np.maximum(ratings - 1, 1)[:, None, None])


def alpha_of(coincidence: Array, level: Level) -> Array:
    """Computes Krippendorff's alpha of coincidences, shape (..., K, K); NaN if undefined."""
    margin = coincidence.sum(-1)
    total = margin.sum(-1)
    if level == "nominal":
        k = coincidence.shape[-1]
        distance = np.broadcast_to(1 - np.eye(k), coincidence.shape)
    else:
        # The ratings between the two categories, both counted by half.
        middle = np.cumsum(margin, -1) - margin / 2
        distance = (middle[..., :, None] - middle[..., None, :]) ** 2
    observed = (coincidence * distance).sum((-1, -2))
    expected = (margin[..., :, None] * margin[..., None, :] * distance).sum((-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected > 0, 1 - (total - 1) * observed / expected, np.nan))


def kappa_of(table: Array, weights: Weights) -> Array:
    """Computes Cohen's kappa of tables of two raters, shape (..., K, K); NaN if undefined."""
    k = table.shape[-1]
    steps = np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(float)
    distance = np.minimum(steps, 1) if weights is None else steps
    distance = steps**2 if weights == "quadratic" else distance
    total = table.sum((-1, -2))
    margins = table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :]
    observed = (table * distance).sum((-1, -2)) * total
    expected = (margins * distance).sum((-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected > 0, 1 - observed / expected, np.nan))


def unit_agreement(codes: NDArray[np.int64], k: int) -> Array:
    """Returns the share of agreeing pairs per unit, shape (units,); 0 with one rating."""
    ratings = (codes >= 0).sum(1)
    agreeing = np.trace(coincidences(codes, k), axis1=1, axis2=2)
    return np.asarray(agreeing / np.maximum(ratings, 1))


def cohen_kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: Weights = None,
    categories: Sequence[float] | None = None,
) -> float | None:
    """Computes Cohen's kappa of two raters over the units that both rated; None if undefined.

    Ratings have shape (units,), NaN where missing. `weights` count how far apart two ratings
    are, in steps between `categories`: all that could be given, by default those that were.
    """
    stacked = np.array([first, second], dtype=float)
    stacked = stacked[:, ~np.isnan(stacked).any(0)]
    levels = np.unique(stacked if categories is None else np.array(categories, dtype=float))
    if not np.isin(stacked, levels).all():
        raise ValueError("a rating is none of the categories")
    table = np.zeros((len(levels), len(levels)))
    np.add.at(table, tuple(np.searchsorted(levels, stacked)), 1)
    kappa = float(kappa_of(table, weights))
    return None if np.isnan(kappa) else kappa
