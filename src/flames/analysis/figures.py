"""The metrics of a group of responses, all from the same weighted resamples of prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flames.analysis.evaluation import (
    HumanAgreement,
    ModelBias,
    Reliability,
    ReliabilityBin,
    ScorerMetrics,
)
from flames.metrics.coefficients import kappa_of
from flames.metrics.intervals import (
    PRIOR,
    Array,
    bootstrap_estimate,
    draw_totals,
    draw_weighted,
    stream,
    sum_by_prompt,
)
from flames.metrics.result import Estimate

BINS = 10
METHOD = "bootstrap by prompt"


@dataclass(frozen=True, slots=True)
class LabelledScore:
    """One labelled response and its verdict.

    `chance` is the probability of the score, `chance_best` that of the best one. `majority` and
    `majority_part` are the most frequent labels of its dimension and subcomponent, `usual` and
    `usual_part` whether most responses there are harmless.
    """

    model: str
    dimension: str
    prompt_id: str
    best: int  # score of the dimension
    label: int
    score: int | None
    unscored: str | None
    chance: float | None
    majority: int
    subcomponent: str = ""
    chance_best: float | None = None
    majority_part: int = 0
    usual: bool = True
    usual_part: bool = True


@dataclass(frozen=True, slots=True)
class Votes:
    """The labels of one response that has several, with a majority or without."""

    model: str
    dimension: str
    prompt_id: str
    votes: tuple[int, ...]
    score: int | None  # the scorer's
    subcomponent: str = ""


def scorer_metrics(
    rows: Sequence[LabelledScore],
    categories: tuple[int, ...],
    name: str,
    seed: int,
    resamples: int,
    votes: Sequence[Votes] = (),
) -> ScorerMetrics:
    """Computes all metrics of a group; its name seeds random numbers of its own.

    `votes` are of all its responses with several labels, those without a majority included.
    """
    scored = [row for row in rows if row.score is not None]
    result = ScorerMetrics(
        n=len(rows),
        scored=len(scored),
        unscored=dict(Counter(row.unscored or "" for row in rows if row.score is None)),
        categories=categories,
        annotators=human_agreement(votes, name, seed, resamples) if votes else None,
    )
    if not scored:
        return result
    k = len(categories)
    place = {score: index for index, score in enumerate(categories)}
    labels = np.array([place[row.label] for row in scored])
    scores = np.array([place[row.score] for row in scored if row.score is not None])
    blocks = {
        "cells": np.eye(k * k)[labels * k + scores],
        "constant": np.array(
            [(row.label == row.majority, row.label == row.majority_part) for row in scored], float
        ),
        "bins": _binned(scored, labels == scores),
    }
    # A pseudo-prompt of either kind, right and wrong, keeps intervals from having no width.
    ends = {name: np.zeros((2, block.shape[1])) for name, block in blocks.items()}
    ends["cells"] = np.stack([np.eye(k).ravel() / k, (1 - np.eye(k)).ravel() / (k * (k - 1))])
    ends["constant"][:] = np.array([[1.0], [0.0]])
    totals = _Totals(blocks, ends, [row.prompt_id for row in scored], name, seed, resamples)

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


def human_agreement(votes: Sequence[Votes], name: str, seed: int, resamples: int) -> HumanAgreement:
    """Computes how often two annotators agree, and the scorer, where it scored, with one."""
    matrix = np.array([_agreeing(each) for each in votes])
    ends = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    prompts = [each.prompt_id for each in votes]
    totals = _Totals({"all": matrix}, {"all": ends}, prompts, f"{name} people", seed, resamples)
    agreement = totals.estimate(lambda t: _ratio(t["all"][:, 0], t["all"][:, 1]))
    assert agreement is not None
    scored = int(matrix[:, 3].sum())
    scorer = totals.estimate(lambda t: _ratio(t["all"][:, 2], t["all"][:, 3])) if scored else None
    return HumanAgreement(
        n=len(votes),
        differing=sum(len(set(each.votes)) > 1 for each in votes),
        agreement=agreement,
        scored=scored,
        scorer=scorer,
    )


def _agreeing(each: Votes) -> tuple[float, float, float, float]:
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
        self,
        blocks: _Blocks,
        ends: _Blocks,
        prompts: Sequence[str],
        name: str,
        seed: int,
        resamples: int,
    ) -> None:
        matrix = np.hstack(list(blocks.values()))
        outcomes = sum_by_prompt(matrix, prompts)
        pseudo = np.hstack(list(ends.values())) * len(matrix) / len(outcomes)
        draws = draw_totals(outcomes, pseudo, resamples, stream(seed, "evaluation", name))
        borders = np.cumsum([block.shape[1] for block in blocks.values()])[:-1]

        def parted(totals: Array) -> _Blocks:
            return dict(zip(blocks, np.split(totals, borders, axis=1), strict=True))

        self.point, self._draws = parted(matrix.sum(0, keepdims=True)), parted(draws)

    def estimate(self, value: Callable[[_Blocks], Array], scale: float = 100.0) -> Estimate | None:
        """Returns a value with its interval; None where it is undefined."""
        point = float(value(self.point)[0])
        if np.isnan(point):
            return None
        return bootstrap_estimate(scale * point, scale * value(self._draws), METHOD)


def _ratio(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


def _binned(rows: Sequence[LabelledScore], right: NDArray[np.bool_]) -> Array:
    """Count, confidence and hits in the bin of each row, shape (rows, 3 × bins)."""
    block = np.zeros((len(rows), 3, BINS))
    for index, row in enumerate(rows):
        if row.chance is not None:
            which = min(int(row.chance * BINS), BINS - 1)
            block[index, :, which] = 1.0, row.chance, right[index]
    return block.reshape(len(rows), -1)


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
    rows: Iterable[LabelledScore], order: Sequence[str], seed: int, resamples: int
) -> ModelRanking:
    """Compares models by labels and by scorer; prompts are resampled for all of them together."""
    rows = [row for row in rows if row.score is not None]
    models = list(dict.fromkeys(row.model for row in rows))
    there = {(row.model, row.dimension) for row in rows}
    common = [name for name in order if all((model, name) in there for model in models)]
    rows = [row for row in rows if row.dimension in common]
    if not rows:
        return ModelRanking()
    prompts = {prompt: index for index, prompt in enumerate({row.prompt_id: None for row in rows})}
    shape = (len(prompts), len(models), len(common))
    totals = np.zeros((3, *shape))  # responses, harmless by label, harmless by scorer
    for row in rows:
        at = prompts[row.prompt_id], models.index(row.model), common.index(row.dimension)
        totals[:, *at] += 1.0, row.label == row.best, row.score == row.best
    flat = totals.transpose(1, 0, 2, 3).reshape(len(prompts), -1)
    rng = stream(seed, "ranking")
    drawn = draw_weighted(1.0, flat, resamples, rng).reshape(-1, 3, *shape[1:])
    # Two pseudo-prompts per cell, harmless by only one of both, keep intervals from zero width.
    pseudo = rng.standard_gamma(PRIOR, (2, resamples, *shape[1:]))
    drawn += np.stack([pseudo.sum(0), pseudo[0], pseudo[1]], axis=1)
    point = flat.sum(0).reshape(1, 3, *shape[1:])
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


def _rates(totals: Array, which: int) -> Array:
    return np.asarray(100 * (totals[:, which] / totals[:, 0]).mean(-1))


def kendall_tau(first: Array, second: Array) -> Array:
    """Computes tau-b (Kendall 1945) of rows, shape (draws, models); NaN where all are tied."""
    upper = np.triu_indices(first.shape[1], 1)
    a = np.sign(np.round(first[:, upper[0]] - first[:, upper[1]], 9))
    b = np.sign(np.round(second[:, upper[0]] - second[:, upper[1]], 9))
    ties = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return _ratio((a * b).sum(1), ties)
