"""What a scorer is right on when only harmless or not counts: the question a rate answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flames.analysis.evaluation import HarmlessMetrics
from flames.analysis.figures import METHOD
from flames.analysis.judgements import Judgements
from flames.metrics.codes import Rows, numbered
from flames.metrics.intervals import Array, bootstrap_estimate, stream
from flames.metrics.outcomes import EACH
from flames.metrics.result import Estimate

_COLUMNS = "n right by_label by_score bad caught usual usual_part".split()
# Two pseudo-prompts, right and wrong in everything, keep intervals from having no width.
_ENDS = np.array([[1, 1, 1, 0, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0, 0, 0]], dtype=float)
_AT_ONCE = 1 << 22  # weights of resamples of an area under the curve


def harmless_metrics(
    rows: Judgements, name: str, seed: int, resamples: int
) -> HarmlessMetrics | None:
    """Computes all metrics of a group that read scores as harmless or not; None if unscored."""
    rows = rows.scored()
    if not len(rows):
        return None
    label = np.array([kind.label == kind.best for kind in rows.kinds])
    score = np.array([kind.score == kind.best for kind in rows.kinds])
    usual = np.array([(kind.usual, kind.usual_part) for kind in rows.kinds])
    table = np.column_stack(
        [np.ones(len(label)), label == score, label, score, ~label, ~label & ~score]
        + [usual[:, i] == label for i in range(2)]
    ).astype(float)
    outcomes = rows.outcomes(table)
    drawn = outcomes.draw(_ENDS, resamples, stream(seed, "harmless", name))
    point = dict(zip(_COLUMNS, outcomes.total, strict=True))
    draws = dict(zip(_COLUMNS, drawn.T, strict=True))

    def share(part: str, whole: str = "n") -> Estimate | None:
        if not point[whole]:
            return None
        value = float(100 * point[part] / point[whole])
        return bootstrap_estimate(value, 100 * draws[part] / draws[whole], METHOD)

    gap = 100 * (draws["by_score"] - draws["by_label"]) / draws["n"]
    bias = float(100 * (point["by_score"] - point["by_label"]) / point["n"])
    return HarmlessMetrics(
        accuracy=share("right"),
        majority=share("usual"),
        subcomponent_majority=share("usual_part"),
        labels=share("by_label"),
        scorer=share("by_score"),
        bias=bootstrap_estimate(bias, gap, METHOD),
        caught=share("caught", "bad"),
        auc=_auc(rows, label, resamples, stream(seed, "auc", name)),
    )


def _auc(
    rows: Judgements, harmless: NDArray[np.bool_], resamples: int, rng: np.random.Generator
) -> Estimate | None:
    """Computes the area under the ROC curve of the probability of the best score, of 100.

    It is the share of pairs, a harmless and another response, in which the former's probability
    is the higher one; ties count half.
    """
    if rows.chance_best is None:
        return None
    known = np.flatnonzero(~np.isnan(rows.chance_best))
    label, chance = harmless[rows.kind[known]], rows.chance_best[known]
    if label.all() or not label.any():
        return None
    order = np.argsort(chance, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(chance[order]) > 0])
    good, bad = (
        np.add.reduceat(where[order].astype(float), starts)[None] for where in (label, ~label)
    )
    point = 100 * float(_area(good, bad)[0])
    numbers, prompts = numbered(rows.prompts[known])
    there = numbers.tolist()
    if len(there) <= EACH:
        by_id = sorted(range(len(there)), key=lambda place: rows.ids[there[place]])
        rank = np.empty(len(there), dtype=np.int64)
        rank[by_id] = np.arange(len(there))
        draws = _areas_by_prompt(label[order], starts, rank[prompts][order], resamples, rng)
    else:
        draws = _areas_by_count(label, chance, prompts, resamples, rng)
    return bootstrap_estimate(point, 100 * draws, METHOD)


def _area(good: Array, bad: Array) -> Array:
    """Returns the area of each row of weights, which have a column for each probability."""
    below = np.cumsum(bad, axis=1) - bad / 2
    whole = good.sum(1) * bad.sum(1)
    hits = (good * below).sum(1)
    return np.asarray(np.divide(hits, whole, out=np.full_like(whole, np.nan), where=whole > 0))


def _areas_by_prompt(
    label: NDArray[np.bool_], starts: Rows, prompts: Rows, resamples: int, rng: np.random.Generator
) -> Array:
    """Draws areas with a weight for each prompt; rows come by their probability."""
    count = int(prompts.max()) + 1
    step = min(max(1, _AT_ONCE // len(label)), resamples)
    draws = []
    for done in range(0, resamples, step):
        each = rng.standard_gamma(1.0, (min(step, resamples - done), count))
        weights = each.take(prompts, axis=1)  # contiguous, unlike what indexing gives
        good = np.add.reduceat(weights * label, starts, axis=1)
        draws.append(_area(good, np.add.reduceat(weights * ~label, starts, axis=1)))
    return np.concatenate(draws)


def _areas_by_count(
    label: NDArray[np.bool_], chance: Array, prompts: Rows, resamples: int, rng: np.random.Generator
) -> Array:
    """Draws areas with a weight for equal responses, where each is its prompt's only one.

    Of more than `EACH` different probabilities, resamples see the nearest ten-thousandth.
    """
    levels, level = np.unique(chance, return_inverse=True)
    if len(levels) > EACH:
        levels, level = np.unique(np.round(chance, 4), return_inverse=True)
    kind = 2 * level + label
    several = np.bincount(prompts)[prompts] > 1
    times = np.bincount(kind[~several], minlength=2 * len(levels)).astype(float)
    own, rows = np.flatnonzero(several), np.zeros(0, np.int64)
    if len(own):
        own = own[np.argsort(kind[own], kind="stable")]
        rows = numbered(prompts[own])[1]
    starts = np.flatnonzero(np.diff(kind[own], prepend=-1))
    step = max(1, _AT_ONCE // (len(times) + len(own)))
    draws = []
    for done in range(0, resamples, step):
        n = min(step, resamples - done)
        weights = rng.standard_gamma(times, (n, len(times)))
        if len(own):
            each = rng.standard_gamma(1.0, (n, int(rows.max()) + 1)).take(rows, axis=1)
            weights[:, kind[own][starts]] += np.add.reduceat(each, starts, axis=1)
        draws.append(_area(weights[:, 1::2], weights[:, ::2]))
    return np.concatenate(draws)
