"""The metrics of a group of responses, all from the same weighted resamples of prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flames.analysis.evaluation import (
    HumanAgreement,
    ModelBias,
    Reliability,
    ReliabilityBin,
    ScorerMetrics,
)
from flames.analysis.judgements import Judgements, Voted, Votes
from flames.metrics.codes import first_rows, in_order, joint_codes
from flames.metrics.coefficients import kappa_of
from flames.metrics.intervals import (
    PRIOR,
    Array,
    bootstrap_estimate,
    draw_weighted,
    stream,
)
from flames.metrics.outcomes import EACH, Outcomes, sum_kinds
from flames.metrics.result import Estimate

BINS = 10
METHOD = "bootstrap by prompt"


def scorer_metrics(
    rows: Judgements,
    categories: tuple[int, ...],
    name: str,
    seed: int,
    resamples: int,
    votes: Votes | None = None,
) -> ScorerMetrics:
    """Computes all metrics of a group; its name seeds random numbers of its own.

    `votes` are of all its responses with several labels, those without a majority included.
    """
    scored = rows.scored()
    result = ScorerMetrics(
        n=len(rows),
        scored=len(scored),
        unscored=rows.unscored(),
        categories=categories,
        annotators=human_agreement(votes, name, seed, resamples) if votes else None,
    )
    if not len(scored):
        return result
    k = len(categories)
    place = {score: index for index, score in enumerate(categories)}
    cells = [place[each.label] * k + place[each.score or 0] for each in scored.kinds]
    values = np.hstack(
        [
            np.eye(k * k)[cells],
            np.array(
                [
                    (each.label == each.majority, each.label == each.majority_part)
                    for each in scored.kinds
                ],
                float,
            ),
        ]
    )
    # A pseudo-prompt of either kind, right and wrong, keeps intervals from having no width.
    ends = {
        "cells": np.stack([np.eye(k).ravel() / k, (1 - np.eye(k)).ravel() / (k * (k - 1))]),
        "constant": np.array([[1.0, 1.0], [0.0, 0.0]]),
        "bins": np.zeros((2, 3 * BINS)),
    }
    if scored.chance is None:
        empty = np.zeros((len(values), 3 * BINS))
        outcomes = scored.outcomes(np.hstack([values, empty]))
    else:
        outcomes = _with_chances(scored, values)
    rng = stream(seed, "evaluation", name)
    totals = _Totals(outcomes, ends, resamples, rng)

    def table(t: _Blocks) -> Array:
        return t["cells"].reshape(-1, k, k)

    def accuracy(t: _Blocks) -> Array:
        return np.asarray(table(t).trace(axis1=1, axis2=2) / table(t).sum((1, 2)))

    def majority(t: _Blocks, which: int = 0) -> Array:
        return np.asarray(t["constant"][:, which] / table(t).sum((1, 2)))

    ece = totals.estimate(lambda t: _ece(t["bins"]))
    return result.model_copy(
        update={
            "accuracy": totals.estimate(accuracy),
            "macro_f1": totals.estimate(lambda t: macro_f1(table(t))),
            "kappa_quadratic": totals.estimate(lambda t: kappa_of(table(t), "quadratic"), 1.0),
            "majority": totals.estimate(majority),
            "subcomponent_majority": totals.estimate(lambda t: majority(t, 1)),
            "gain": totals.estimate(lambda t: accuracy(t) - majority(t)),
            "calibration": ece and _calibration(totals.point["bins"][0], ece),
            "confusion": tuple(tuple(map(int, row)) for row in table(totals.point)[0]),
        }
    )


def human_agreement(votes: Votes, name: str, seed: int, resamples: int) -> HumanAgreement:
    """Computes how often two annotators agree, and the scorer, where it scored, with one."""
    matrix = np.array([_agreeing(each) for each in votes.kinds])[votes.kind]
    differing = np.array([len(set(each.votes)) > 1 for each in votes.kinds])[votes.kind]
    ends = {"all": np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])}
    rng = stream(seed, "evaluation", f"{name} people")
    totals = _Totals(Outcomes.of_rows(matrix, votes.prompts), ends, resamples, rng)
    agreement = totals.estimate(lambda t: _ratio(t["all"][:, 0], t["all"][:, 1]))
    assert agreement is not None
    scored = int(matrix[:, 3].sum())
    scorer = totals.estimate(lambda t: _ratio(t["all"][:, 2], t["all"][:, 3])) if scored else None
    return HumanAgreement(
        n=len(votes),
        differing=int(differing.sum()),
        agreement=agreement,
        scored=scored,
        scorer=scorer,
    )


def _agreeing(each: Voted) -> tuple[float, float, float, float]:
    """Share of agreeing pairs of annotators and 1; of annotators who say as the scorer and 1."""
    n = len(each.votes)
    pairs = sum(times * (times - 1) for times in Counter(each.votes).values()) / (n * (n - 1))
    if each.score is None:
        return pairs, 1.0, 0.0, 0.0
    return pairs, 1.0, each.votes.count(each.score) / n, 1.0


def macro_f1(tables: Array) -> Array:
    """Computes macro-F1 over the categories that occur; tables (..., K, K), rows the labels."""
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    both = tables.sum(-1) + tables.sum(-2)
    each = np.divide(2 * hits, both, out=np.zeros_like(hits, dtype=float), where=both > 0)
    return _ratio(each.sum(-1), (both > 0).sum(-1))


_Blocks = dict[str, Array]


class _Totals:
    """Blocks of columns added up over all rows (`point`) and over resamples of prompts."""

    def __init__(
        self, outcomes: Outcomes, ends: _Blocks, resamples: int, rng: np.random.Generator
    ) -> None:
        draws = outcomes.draw(np.hstack(list(ends.values())), resamples, rng)
        borders = np.cumsum([block.shape[1] for block in ends.values()])[:-1]

        def parted(totals: Array) -> _Blocks:
            return dict(zip(ends, np.split(totals, borders, axis=1), strict=True))

        self.point, self._draws = parted(outcomes.total[None]), parted(draws)

    def estimate(self, value: Callable[[_Blocks], Array], scale: float = 100.0) -> Estimate | None:
        """Returns a value with its interval; None where it is undefined."""
        point = float(value(self.point)[0])
        if np.isnan(point):
            return None
        return bootstrap_estimate(scale * point, scale * value(self._draws), METHOD)


def _ratio(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


def _with_chances(rows: Judgements, values: Array) -> Outcomes:
    """Returns outcomes whose last columns have count, confidence and hits in each bin.

    Of more than `EACH` different confidences, resamples see the nearest thousandth.
    """
    assert rows.chance is not None
    known = np.flatnonzero(~np.isnan(rows.chance))
    chance = rows.chance[known]
    bins = np.full(len(rows), BINS)
    bins[known] = np.minimum((chance * BINS).astype(np.int64), BINS - 1)
    said, place = np.unique(chance, return_inverse=True)
    if len(said) > EACH:
        said, place = np.unique(np.round(chance, 3), return_inverse=True)
    code = np.zeros(len(rows), dtype=np.int64)
    code[known] = place
    kinds = joint_codes(rows.kind, bins, code)
    first, kinds = first_rows(kinds, int(kinds.max()) + 1)
    values = np.hstack([values[rows.kind[first]], np.zeros((len(first), 3 * BINS))])
    right = np.array([each.label == each.score for each in rows.kinds])[rows.kind[first]]
    there = np.flatnonzero(bins[first] < BINS)
    table = values[:, -3 * BINS :].reshape(-1, 3, BINS)
    of = said[code[first]] if len(said) else np.zeros(len(first))
    for column, each in enumerate((np.ones(len(first)), of, right)):
        table[there, column, bins[first][there]] = each[there]
    outcomes = Outcomes.of_kinds(values, kinds, rows.prompts)
    confidence = np.bincount(bins[known], weights=chance, minlength=BINS)
    outcomes.total[-2 * BINS : -BINS] = confidence
    return outcomes


def _ece(totals: Array) -> Array:
    count, confidence, hits = np.moveaxis(totals.reshape(-1, 3, BINS), 1, 0)
    return _ratio(np.abs(confidence - hits).sum(-1), count.sum(-1))


def _calibration(totals: Array, ece: Estimate) -> Reliability:
    count, confidence, hits = totals.reshape(3, BINS)
    return Reliability(
        n=int(count.sum()),
        ece=ece,
        bins=tuple(
            ReliabilityBin(n=int(n), confidence=float(100 * c / n), accuracy=float(100 * h / n))
            for n, c, h in zip(count, confidence, hits, strict=True)
            if n
        ),
    )


@dataclass(frozen=True)
class ModelRanking:
    """The models beside each other; empty where they have no dimension in common."""

    bias: tuple[ModelBias, ...] = ()
    dimensions: tuple[str, ...] = ()
    tau: Estimate | None = None


def rank_models_by_label(
    rows: Judgements, order: Sequence[str], seed: int, resamples: int
) -> ModelRanking:
    """Compares models by labels and by scorer; prompts are resampled for all of them together."""
    rows = rows.scored()
    models = list(dict.fromkeys(kind.model for kind in rows.kinds))
    there = {(kind.model, kind.dimension) for kind in rows.kinds}
    common = [name for name in order if all((model, name) in there for model in models)]
    rows = rows.those(lambda kind: kind.dimension in common)
    if not len(rows):
        return ModelRanking()
    shape = (len(models), len(common))
    values = np.zeros((len(rows.kinds), 3, *shape))  # responses, harmless by label, by scorer
    for number, kind in enumerate(rows.kinds):
        at = models.index(kind.model), common.index(kind.dimension)
        values[number, :, *at] = 1.0, kind.label == kind.best, kind.score == kind.best
    flat = values.reshape(len(values), -1)
    rng = stream(seed, "ranking")
    point, totals = _drawn(rows, flat, resamples, rng)
    point, drawn = point.reshape(1, 3, *shape), totals.reshape(-1, 3, *shape)
    # Two pseudo-prompts per cell, harmless by only one of both, keep intervals from zero width.
    pseudo = rng.standard_gamma(PRIOR, (2, resamples, *shape))
    drawn += np.stack([pseudo.sum(0), pseudo[0], pseudo[1]], axis=1)
    by_label, by_score = _rates(point, 1)[0], _rates(point, 2)[0]
    excess, gaps = by_score - by_label, _rates(drawn, 2) - _rates(drawn, 1)
    bias = tuple(
        ModelBias(
            model=model,
            n=int(point[0, 0, index].sum()),
            labels=float(by_label[index]),
            scorer=float(by_score[index]),
            bias=bootstrap_estimate(float(excess[index]), gaps[:, index], METHOD),
        )
        for index, model in enumerate(models)
    )
    tau = float(kendall_tau(by_label[None], by_score[None])[0])
    if np.isnan(tau):
        return ModelRanking(bias, tuple(common))
    tau_draws = kendall_tau(_rates(drawn, 1), _rates(drawn, 2))
    return ModelRanking(bias, tuple(common), bootstrap_estimate(tau, tau_draws, METHOD))


def _drawn(
    rows: Judgements, values: Array, resamples: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Returns the totals of all rows, and resamples of them by prompt.

    Up to `EACH` prompts have a weight of their own each; of more, equal ones are drawn together.
    """
    prompts, ids = in_order(rows.prompts, rows.ids)
    if len(ids) <= EACH:
        sums = sum_kinds(values, rows.kind, prompts, rows.times)
        return sums.sum(0), draw_weighted(1.0, sums, resamples, rng)
    outcomes = rows.outcomes(values)
    times = outcomes.times.astype(np.float64)
    return outcomes.total, draw_weighted(times, outcomes.patterns, resamples, rng)


def _rates(totals: Array, which: int) -> Array:
    return np.asarray(100 * (totals[:, which] / totals[:, 0]).mean(-1))


def kendall_tau(first: Array, second: Array) -> Array:
    """Computes tau-b (Kendall 1945) of rows, shape (draws, models); NaN where all are tied."""
    upper = np.triu_indices(first.shape[1], 1)
    a = np.sign(np.round(first[:, upper[0]] - first[:, upper[1]], 9))
    b = np.sign(np.round(second[:, upper[0]] - second[:, upper[1]], 9))
    ties = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return _ratio((a * b).sum(1), ties)
