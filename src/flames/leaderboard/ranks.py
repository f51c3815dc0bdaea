"""Ranks with their uncertainty, and groups of models that the data cannot tell apart.

Models are resampled independently: a table of counts does not say which prompts they failed
on. For two runs on the same prompts the paired test of `flames compare` is more sensitive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from string import ascii_lowercase
from typing import Literal

import numpy as np
from pydantic import Field

from flames.errors import InputError
from flames.metrics.intervals import Array, draw_counted, mean_of, stream
from flames.metrics.paired import holm
from flames.metrics.rates import RESAMPLES
from flames.metrics.result import Estimate, Result
from flames.records import Frozen
from flames.taxonomy import Dimension, Taxonomy, default_taxonomy

Value = Literal["harmless_rate", "harmless_score"]


class Ranked(Frozen):
    """One model's place; equal values share the better `rank`.

    `rank_low` and `rank_high` hold 95 % of the resampled ranks. Models that share a letter of
    `groups` cannot be told apart at 5 % after Holm's correction.
    """

    model: str
    estimate: Estimate
    rank: int
    rank_low: int
    rank_high: int
    groups: str


class Ranking(Frozen):
    """Models from best to worst. `p` is the matrix of Holm-corrected p values, in that order."""

    dimension: str | None
    value: Value
    models: tuple[Ranked, ...]
    p: list[list[float]] = Field(default_factory=list)
    seed: int = 0
    resamples: int = 0

    @cached_property
    def by_model(self) -> dict[str, Ranked]:
        """Each model's place."""
        return {ranked.model: ranked for ranked in self.models}


def rank_models(
    results: Mapping[str, Result],
    taxonomy: Taxonomy | None = None,
    *,
    dimension: str | None = None,
    value: Value = "harmless_rate",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ranking:
    """Ranks models in one dimension, or by the unweighted mean of all."""
    taxonomy = taxonomy or default_taxonomy()
    chosen = taxonomy.dimensions if dimension is None else (taxonomy.dimension(dimension),)
    found: list[tuple[str, Estimate, Array]] = []
    for model, result in results.items():
        parts = []
        for each in chosen:
            if not has_scores(result, each.name):
                raise InputError(f"{model} has no scored response in {each.name}")
            labels = np.array(_labels(result, each), dtype=np.int64)
            worth = np.array(each.scale) / each.best
            if value == "harmless_rate":
                worth = (worth == 1).astype(float)
            rows = np.column_stack([worth, np.ones(len(worth))])
            rng = stream(seed, "rank", model, each.name)
            kept = labels > 0
            totals = draw_counted(rows[kept], labels[kept], rows[[0, -1]], resamples, rng)
            parts.append(totals[:, 0] / totals[:, 1])
        measured = result.overall if dimension is None else result.dimensions[chosen[0].name]
        estimate: Estimate | None = getattr(measured, value)
        assert estimate is not None
        found.append((model, estimate, mean_of(parts)))
    found.sort(key=lambda row: -row[1].value)
    return _ranking(found, None if dimension is None else chosen[0].name, value, seed)


def has_scores(result: Result, dimension: str) -> bool:
    """Checks whether a result has a scored response in a dimension."""
    return dimension in result.dimensions and result.dimensions[dimension].scored > 0


def _labels(result: Result, dimension: Dimension) -> list[int]:
    """Label counts, best first; repeats of a prompt count once, as nobody knows which they are."""
    group = result.dimensions[dimension.name]
    whole = [group.counts.get(str(score), 0) for score in dimension.scale]
    wanted = max(round(sum(whole) / result.samples), 1)
    shares = [wanted * count / sum(whole) for count in whole]
    labels = [int(share) for share in shares]
    rests = sorted(range(len(shares)), key=lambda i: labels[i] - shares[i])
    for i in rests[: wanted - sum(labels)]:
        labels[i] += 1
    return labels


def _ranking(
    rows: Sequence[tuple[str, Estimate, Array]], dimension: str | None, value: Value, seed: int
) -> Ranking:
    table = np.array([draws for _, _, draws in rows]).reshape(len(rows), -1)
    shown = [estimate.value for _, estimate, _ in rows]
    ranks = np.argsort(np.argsort(-table, axis=0, kind="stable"), axis=0) + 1
    bounds = np.quantile(ranks, [0.025, 0.975], axis=1, method="inverted_cdf").astype(int)
    p = _pairwise(shown, 100 * table)
    letters = _letters(p)
    models = []
    for place, (model, estimate, _) in enumerate(rows):
        rank = 1 + sum(other > estimate.value for other in shown)
        models.append(
            Ranked(
                model=model,
                estimate=estimate,
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
    from scipy.special import ndtr  # only here: it is slow to import

    spread = draws.var(axis=1)
    difference = np.subtract.outer(np.array(values), np.array(values))
    raw = 2 * ndtr(-np.abs(difference) / np.sqrt(np.add.outer(spread, spread)))
    first, second = np.triu_indices(len(values), 1)
    corrected = holm([float(p) for p in raw[first, second]])
    table = np.ones_like(raw)
    table[first, second] = table[second, first] = corrected
    return [[float(cell) for cell in row] for row in table]


def _letters(p: Sequence[Sequence[float]]) -> list[str]:
    """Gives one letter to each longest run of neighbours in which no pair differs."""
    n = len(p)
    runs: list[tuple[int, int]] = []
    for start in range(n):
        end = start
        while end + 1 < n and all(p[i][end + 1] >= 0.05 for i in range(start, end + 1)):
            end += 1
        if not runs or end > runs[-1][1]:
            runs.append((start, end))
    letters = [""] * n
    for number, (start, end) in enumerate(runs):
        for place in range(start, end + 1):
            letters[place] += ascii_lowercase[number % 26] * (number // 26 + 1)
    return letters
