"""What a benchmark needs of its scorer: unbiased rates a model, and the models' right order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flames.evaluation._figures import METHOD
from flames.evaluation._result import ModelBias
from flames.metrics._bootstrap import PRIOR, percentile_interval, stream
from flames.metrics.result import Estimate

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rated:
    """A response that has both a label and a score: whose, on what, harmless or not by each."""

    model: str
    dimension: str
    prompt_id: str
    label: bool
    score: bool


@dataclass(frozen=True)
class Ranking:
    """The models beside each other; empty where they have no dimension in common."""

    bias: tuple[ModelBias, ...] = ()
    dimensions: tuple[str, ...] = ()
    tau: Estimate | None = None


def rank(rows: Iterable[Rated], order: Sequence[str], seed: int, resamples: int) -> Ranking:
    """Compares the models' overall harmless rates by labels and by scorer.

    Prompts are resampled for all models together: they answered the same ones.

    Args:
        rows: All models' responses.
        order: The dimensions.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
    """
    rows = list(rows)
    models = list(dict.fromkeys(row.model for row in rows))
    there = {(row.model, row.dimension) for row in rows}
    common = [name for name in order if all((model, name) in there for model in models)]
    rows = [row for row in rows if row.dimension in common]
    if not rows:
        return Ranking()
    prompts = {prompt: index for index, prompt in enumerate({row.prompt_id: None for row in rows})}
    shape = (len(prompts), len(models), len(common))
    totals = np.zeros((3, *shape))  # responses, harmless by label, harmless by scorer
    for row in rows:
        at = prompts[row.prompt_id], models.index(row.model), common.index(row.dimension)
        totals[:, *at] += 1.0, row.label, row.score
    flat = totals.transpose(1, 0, 2, 3).reshape(len(prompts), -1)
    rng = stream(seed, "ranking")
    drawn = (rng.standard_gamma(1.0, (resamples, len(prompts))) @ flat).reshape(-1, 3, *shape[1:])
    # Two pseudo-prompts a cell, harmless by one of both only, keep intervals from having no width.
    pseudo = rng.standard_gamma(PRIOR, (2, resamples, *shape[1:]))
    drawn += np.stack([pseudo.sum(0), pseudo[0], pseudo[1]], axis=1)
    point = flat.sum(0).reshape(1, 3, *shape[1:])
    by_label, by_score = _rates(point, 1)[0], _rates(point, 2)[0]
    gaps = _rates(drawn, 2) - _rates(drawn, 1)
    bias = []
    for index, model in enumerate(models):
        gap = float(by_score[index] - by_label[index])
        low, high = percentile_interval(gaps[:, index], gap)
        bias.append(
            ModelBias(
                model=model,
                n=int(point[0, 0, index].sum()),
                labels=float(by_label[index]),
                scorer=float(by_score[index]),
                bias=Estimate(value=gap, low=low, high=high, method=METHOD),
            )
        )
    return Ranking(tuple(bias), tuple(common), _tau_estimate(by_label, by_score, drawn))


def _rates(totals: Array, which: int) -> Array:
    """Overall rates in per cent, shape (draws, models)."""
    return np.asarray(100 * (totals[:, which] / totals[:, 0]).mean(-1))


def _tau_estimate(by_label: Array, by_score: Array, drawn: Array) -> Estimate | None:
    tau = float(kendall_tau(by_label[None], by_score[None])[0])
    if np.isnan(tau):
        return None
    draws = kendall_tau(_rates(drawn, 1), _rates(drawn, 2))
    low, high = percentile_interval(draws[~np.isnan(draws)], tau)
    return Estimate(value=tau, low=low, high=high, method=METHOD)


def kendall_tau(first: Array, second: Array) -> Array:
    """Kendall's tau-b of rows of values, shape (draws, models); NaN where all are tied.

    Source: Kendall 1945.
    """
    upper = np.triu_indices(first.shape[1], 1)
    a = np.sign(np.round(first[:, upper[0]] - first[:, upper[1]], 9))
    b = np.sign(np.round(second[:, upper[0]] - second[:, upper[1]], 9))
    ties = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    tau = np.divide((a * b).sum(1), ties, out=np.full(len(ties), np.nan), where=ties > 0)
    return np.asarray(tau)
