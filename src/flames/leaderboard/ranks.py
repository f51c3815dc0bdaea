"""Ranks with their uncertainty, and groups of models that the data cannot tell apart.

Models are resampled independently of each other: a table of counts does not say which prompts
they failed on. Where two models fail on the same prompts, `flames compare` tells more apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtr

from flames.errors import InputError
from flames.metrics._bootstrap import METHOD, draw_counted, mean_of, percentile_interval, stream
from flames.metrics._measure import RESAMPLES
from flames.metrics.paired import holm
from flames.metrics.result import Estimate
from flames.taxonomy import Taxonomy, default_taxonomy

Array = NDArray[np.float64]
Counts = Mapping[str, Sequence[int]]
Value = Literal["harmless_rate", "harmless_score"]

LEVEL = 0.05


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Ranked(_Frozen):
    """One model's place.

    `rank` counts from 1, best first, equal values sharing the better one; `rank_low` and
    `rank_high` hold 95 % of the resampled ranks. Models that share a letter of `groups` cannot
    be told apart at 5 % after Holm's correction.
    """

    model: str
    estimate: Estimate
    rank: int
    rank_low: int
    rank_high: int
    groups: str


class Ranking(_Frozen):
    """Models from best to worst. `p` is the matrix of Holm-corrected p values, in that order."""

    dimension: str | None
    value: Value
    models: tuple[Ranked, ...]
    p: list[list[float]] = Field(default_factory=list)
    seed: int = 0
    resamples: int = 0


def rank_models(
    counts: Mapping[str, Counts],
    taxonomy: Taxonomy | None = None,
    *,
    dimension: str | None = None,
    value: Value = "harmless_rate",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ranking:
    """Ranks models by one dimension, or by the unweighted mean of all.

    Args:
        counts: Model → dimension → labels by score, best first.
        taxonomy: Whose dimensions and scales; Flames' own unless given.
        dimension: Rank by this one alone.
        value: What to rank by.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Raises:
        InputError: A model has no labels on a dimension that counts.
    """
    taxonomy = taxonomy or default_taxonomy()
    chosen = taxonomy.dimensions if dimension is None else (taxonomy.dimension(dimension),)
    for model, own in counts.items():
        for each in chosen:
            if not sum(own.get(each.name, ())):
                raise InputError(f"{model} has no scored response in {each.name}")
    values: list[float] = []
    draws: list[Array] = []
    for model, own in counts.items():
        parts = []
        exact = []
        for each in chosen:
            labels = np.array(own[each.name], dtype=np.int64)
            worth = np.array(
                [
                    float(score == each.best) if value == "harmless_rate" else score / each.best
                    for score in each.scale
                ]
            )
            rows = np.column_stack([worth, np.ones(len(worth))])
            rng = stream(seed, "rank", model, each.name)
            kept = labels > 0
            totals = draw_counted(rows[kept], labels[kept], rows[[0, -1]], resamples, rng)
            parts.append(totals[:, 0] / totals[:, 1])
            exact.append(float(worth @ labels) / int(labels.sum()))
        draws.append(mean_of(parts))
        values.append(sum(exact) / len(exact))
    return _ranking(list(counts), values, draws, chosen[0].name if dimension else None, value, seed)


def _ranking(
    names: Sequence[str],
    values: Sequence[float],
    draws: Sequence[Array],
    dimension: str | None,
    value: Value,
    seed: int,
) -> Ranking:
    order = sorted(range(len(names)), key=lambda i: -values[i])
    table = np.array([draws[i] for i in order]).reshape(len(order), -1)
    shown = [values[i] for i in order]
    ranks = np.argsort(np.argsort(-table, axis=0, kind="stable"), axis=0) + 1
    bounds = np.quantile(ranks, [0.025, 0.975], axis=1, method="inverted_cdf").astype(int)
    p = _pairwise(shown, table)
    letters = _letters(p)
    models = []
    for place, i in enumerate(order):
        low, high = percentile_interval(100 * table[place], 100 * values[i])
        rank = 1 + sum(other > values[i] for other in shown)
        models.append(
            Ranked(
                model=names[i],
                estimate=Estimate(value=100 * values[i], low=low, high=high, method=METHOD),
                rank=rank,
                rank_low=min(int(bounds[0, place]), rank),
                rank_high=max(int(bounds[1, place]), rank),
                groups=letters[place],
            )
        )
    return Ranking(
        dimension=dimension,
        value=value,
        models=tuple(models),
        p=[[round(cell, 6) for cell in row] for row in p],
        seed=seed,
        resamples=table.shape[1],
    )


def _pairwise(values: Sequence[float], draws: Array) -> list[list[float]]:
    """Two-sided p values of independent differences, Holm-corrected over all pairs."""
    spread = draws.var(axis=1)
    difference = np.subtract.outer(np.array(values), np.array(values))
    raw = 2 * ndtr(-np.abs(difference) / np.sqrt(np.add.outer(spread, spread)))
    first, second = np.triu_indices(len(values), 1)
    corrected = holm([float(p) for p in raw[first, second]])
    table = np.ones_like(raw)
    table[first, second] = table[second, first] = corrected
    return [[float(cell) for cell in row] for row in table]


def _letters(p: Sequence[Sequence[float]]) -> list[str]:
    """A letter for every longest run of neighbours none of whose pairs differ."""
    n = len(p)
    runs: list[tuple[int, int]] = []
    for start in range(n):
        end = start
        while end + 1 < n and all(p[i][end + 1] >= LEVEL for i in range(start, end + 1)):
            end += 1
        if not runs or end > runs[-1][1]:
            runs.append((start, end))
    letters = [""] * n
    for number, (start, end) in enumerate(runs):
        for place in range(start, end + 1):
            letters[place] += _letter(number)
    return letters


def _letter(number: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[number % 26] * (number // 26 + 1)
