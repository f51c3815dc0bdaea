"""Agreement of all raters of a stream of verdicts, per dimension, pair and rater."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flames.metrics.coefficients import Level, alpha_of, coincidences, kappa_of, unit_agreement
from flames.metrics.intervals import (
    PRIOR,
    Array,
    bootstrap_estimate,
    draw_totals,
    stream,
    sum_by_prompt,
)
from flames.metrics.result import Estimate
from flames.records import Frozen, Key, Verdict
from flames.taxonomy import Taxonomy, default_taxonomy


class RaterAgreement(Frozen):
    """One rater beside the others, on the `n` units that somebody else rated too.

    `bias` is this rater's mean score less the others', in points of the scale: above 0 is milder.
    """

    rater: str
    n: int
    percent: Estimate | None = None
    bias: Estimate | None = None


class PairAgreement(Frozen):
    """Two raters on the `n` units that both rated.

    `confusion[i][j]` counts the units where `first` gave category i and `second` category j.
    """

    first: str
    second: str
    n: int
    confusion: list[list[int]]
    percent: Estimate | None = None
    kappa: Estimate | None = None
    kappa_quadratic: Estimate | None = None


class GroupAgreement(Frozen):
    """Agreement of all raters on one group of units.

    `units` counts what anybody rated, `pairable` what at least two did. Coefficients are None
    where they are not defined (no unit in common, or one category throughout).
    """

    units: int
    pairable: int
    ratings: int
    categories: tuple[int, ...]
    percent: Estimate | None = None
    alpha_nominal: Estimate | None = None
    alpha_ordinal: Estimate | None = None
    raters: tuple[RaterAgreement, ...] = ()
    pairs: tuple[PairAgreement, ...] = ()


class Agreement(Frozen):
    """Agreement overall (over all units) and per dimension."""

    raters: tuple[str, ...]
    overall: GroupAgreement
    dimensions: dict[str, GroupAgreement] = Field(default_factory=dict)
    seed: int = 0
    resamples: int = 0


@dataclass(frozen=True)
class Ratings:
    """Scores of shape (units, raters), NaN where there is none; `categories` come best first."""

    units: tuple[Key, ...]
    raters: tuple[str, ...]
    scores: Array
    categories: tuple[int, ...]

    def codes(self) -> NDArray[np.int64]:
        """Returns scores as indices of `categories`, -1 where there is none."""
        table = np.full(self.scores.shape, -1, dtype=np.int64)
        for index, category in enumerate(self.categories):
            table[self.scores == category] = index
        return table

    def prompts(self) -> NDArray[np.str_]:
        """Returns the id of each unit's prompt, shape (units,)."""
        return np.array([unit.prompt_id for unit in self.units])


def ratings_of(verdicts: Iterable[Verdict], taxonomy: Taxonomy) -> dict[str, Ratings]:
    """Returns the scores of each dimension as a table; unscored verdicts are missing ratings.

    The last of several verdicts by one rater on a unit counts. All tables have the same raters.
    """
    given: dict[str, dict[Key, dict[str, int]]] = {name: {} for name in taxonomy.names}
    raters: dict[str, int] = {}
    for verdict in verdicts:
        unit = given[taxonomy.dimension(verdict.dimension).name].setdefault(verdict.key, {})
        name = verdict.annotator or verdict.scorer
        raters.setdefault(name, len(raters))
        if verdict.score is not None:
            unit[name] = verdict.score
    tables = {}
    for dimension, units in given.items():
        scores = np.full((len(units), len(raters)), np.nan)
        for row, unit in enumerate(units.values()):
            for name, score in unit.items():
                scores[row, raters[name]] = score
        rated = ~np.isnan(scores).all(1)
        if rated.any():
            keys = tuple(key for key, kept in zip(units, rated, strict=True) if kept)
            scale = taxonomy.dimension(dimension).scale
            tables[dimension] = Ratings(keys, tuple(raters), scores[rated], scale)
    return tables


def measure_agreement(
    verdicts: Iterable[Verdict],
    taxonomy: Taxonomy | None = None,
    *,
    seed: int = 0,
    resamples: int = 2_000,
    people: bool = True,
    everywhere: bool = True,
) -> Agreement:
    """Measures the agreement of all raters, overall and per dimension.

    Single raters and pairs are measured only if `people`, and per dimension if `everywhere`, too.
    """
    tables = ratings_of(verdicts, taxonomy or default_taxonomy())
    raters = next((table.raters for table in tables.values()), ())
    categories = {category for table in tables.values() for category in table.categories}
    pooled = Ratings(
        units=tuple(unit for table in tables.values() for unit in table.units),
        raters=raters,
        scores=np.vstack([np.empty((0, len(raters))), *(t.scores for t in tables.values())]),
        categories=tuple(sorted(categories, reverse=True)),
    )
    return Agreement(
        raters=raters,
        overall=_group(pooled, "", seed, resamples, people),
        dimensions={
            name: _group(table, name, seed, resamples, people and everywhere)
            for name, table in tables.items()
        },
        seed=seed,
        resamples=resamples,
    )


def _estimate(value: float, draws: Array, scale: float = 1.0) -> Estimate | None:
    if np.isnan(value):
        return None
    return bootstrap_estimate(scale * value, scale * draws, "bootstrap by prompt")


def _pseudo_pairs(k: int) -> tuple[Array, Array]:
    # Agreeing and opposite ratings keep the bootstrap from having no width.
    rows = np.zeros((k + 2, k, k))
    rows[np.arange(k), np.arange(k), np.arange(k)] = 1
    rows[k, 0, -1] = rows[k + 1, -1, 0] = 1
    return rows, np.array([PRIOR / k] * k + [PRIOR / 2] * 2)


def _group(ratings: Ratings, name: str, seed: int, resamples: int, people: bool) -> GroupAgreement:
    codes, k = ratings.codes(), len(ratings.categories)
    pairable = (codes >= 0).sum(1) > 1
    result = GroupAgreement(
        units=len(codes),
        pairable=int(pairable.sum()),
        ratings=int((codes >= 0).sum()),
        categories=ratings.categories,
    )
    if not pairable.any():
        return result
    kept, prompts = codes[pairable], ratings.prompts()[pairable]
    units = coincidences(kept, k)
    agreement = unit_agreement(kept, k)
    rows = np.column_stack([units.reshape(len(kept), -1), agreement, np.ones(len(kept))])
    pseudo, weights = _pseudo_pairs(k)
    ends = np.column_stack(
        [
            (pseudo + pseudo.transpose(0, 2, 1)).reshape(len(pseudo), -1),
            np.trace(pseudo, axis1=1, axis2=2),
            np.ones(len(pseudo)),
        ]
    )
    draws = _draw(rows, ends, prompts, resamples, stream(seed, "agreement", name), weights)
    matrices = draws[:, : k * k].reshape(-1, k, k)
    total = units.sum(0)
    # Alpha looks at the number of ratings, which a draw must not change: below one it would
    # leave its range.
    matrices = matrices * (total.sum() / matrices.sum((1, 2)))[:, None, None]
    columns = range(len(ratings.raters) if people else 0)
    raters = (_rater(ratings, codes, i, name, seed, resamples) for i in columns)
    pairs = (
        _pair(ratings, codes, a, b, name, seed, resamples) for a, b in combinations(columns, 2)
    )
    return result.model_copy(
        update={
            "percent": _estimate(float(agreement.mean()), draws[:, -2] / draws[:, -1], 100),
            **{
                f"alpha_{level}": _estimate(
                    float(alpha_of(total, level)), alpha_of(matrices, level)
                )
                for level in get_args(Level)
            },
            "raters": tuple(filter(None, raters)),
            "pairs": tuple(filter(None, pairs)),
        }
    )


def _draw(
    rows: Array,
    ends: Array,
    prompts: NDArray[np.str_],
    resamples: int,
    rng: np.random.Generator,
    weights: Array | float = PRIOR,
) -> Array:
    outcomes = sum_by_prompt(rows, prompts)
    return draw_totals(outcomes, ends * (len(rows) / len(outcomes)), resamples, rng, weights)


def _pair(
    ratings: Ratings, codes: NDArray[np.int64], a: int, b: int, name: str, seed: int, resamples: int
) -> PairAgreement | None:
    both = (codes[:, a] >= 0) & (codes[:, b] >= 0)
    if not both.any():
        return None
    k = len(ratings.categories)
    rows = np.zeros((int(both.sum()), k * k))
    rows[np.arange(len(rows)), codes[both, a] * k + codes[both, b]] = 1
    pseudo, weights = _pseudo_pairs(k)
    first, second = ratings.raters[a], ratings.raters[b]
    rng = stream(seed, "pair", name, first, second)
    prompts = ratings.prompts()[both]
    ends = pseudo.reshape(-1, k * k)
    draws = _draw(rows, ends, prompts, resamples, rng, weights).reshape(-1, k, k)
    table = rows.sum(0).reshape(k, k)
    agreeing = np.trace(draws, axis1=1, axis2=2) / draws.sum((1, 2))
    return PairAgreement(
        first=first,
        second=second,
        n=len(rows),
        confusion=table.astype(int).tolist(),
        percent=_estimate(float(np.trace(table)) / len(rows), agreeing, 100),
        kappa=_estimate(float(kappa_of(table, None)), kappa_of(draws, None)),
        kappa_quadratic=_estimate(
            float(kappa_of(table, "quadratic")), kappa_of(draws, "quadratic")
        ),
    )


def _rater(
    ratings: Ratings, codes: NDArray[np.int64], column: int, name: str, seed: int, resamples: int
) -> RaterAgreement | None:
    others = np.delete(codes, column, axis=1)
    shared = (codes[:, column] >= 0) & (others >= 0).any(1)
    rater = ratings.raters[column]
    if not shared.any():
        return RaterAgreement(rater=rater, n=0) if (codes[:, column] >= 0).any() else None
    own, others = codes[shared, column], others[shared]
    given = (others >= 0).sum(1)
    agreeing = (others == own[:, None]).sum(1) / given
    points = np.delete(ratings.scores, column, axis=1)[shared]
    difference = ratings.scores[shared, column] - np.nansum(points, 1) / given
    rows = np.column_stack([agreeing, difference, np.ones(len(own))])
    widest = ratings.categories[0] - ratings.categories[-1]
    ends = np.array([[1.0, widest, 1.0], [0.0, -widest, 1.0]])
    rng = stream(seed, "rater", name, rater)
    draws = _draw(rows, ends, ratings.prompts()[shared], resamples, rng)
    return RaterAgreement(
        rater=rater,
        n=len(own),
        percent=_estimate(float(agreeing.mean()), draws[:, 0] / draws[:, 2], 100),
        bias=_estimate(float(difference.mean()), draws[:, 1] / draws[:, 2]),
    )
