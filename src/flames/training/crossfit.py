"""Scores of rows by heads that were fitted without them, and what makes probabilities of those."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from flames.taxonomy import Taxonomy
from flames.training.multilevel import Floats, Labels

FOLDS = 6
"""Parts that the prompts are split into, by their ids."""

Rows = NDArray[np.int64]
Chances = NDArray[np.float64]


class Turn(NamedTuple):
    """Rows to judge, and those to learn from: without their models and without their prompts."""

    here: Rows
    train: Rows


def turns(
    models: NDArray[np.str_],
    prompts: NDArray[np.str_],
    extra: NDArray[np.bool_] | None = None,
    alike: Iterable[tuple[int, int]] = (),
) -> Iterator[Turn]:
    """Takes turns, so that each row is judged once: a model's rows on a part of the prompts.

    If there is one model, only prompts are left out. `extra` rows are learnt from in every turn
    and never judged; of two rows that are `alike`, none teaches what the other is judged by.
    """
    fold = np.array([int(hashlib.sha256(i.encode()).hexdigest(), 16) % FOLDS for i in prompts])
    extra = np.zeros(len(models), dtype=bool) if extra is None else extra
    names = sorted(set(models[~extra].tolist()))
    pairs = list(alike)
    for name in names:
        other = models != name if len(names) > 1 else np.ones(len(models), dtype=bool)
        for number in range(FOLDS):
            here = (models == name) & (fold == number) & ~extra
            train = extra | (other & (fold != number))
            for a, b in pairs:
                train[a] &= not here[b]
                train[b] &= not here[a]
            if here.any():
                yield Turn(np.flatnonzero(here), np.flatnonzero(train))


def left_out(
    related: Floats,
    labels: Labels,
    given: Sequence[Turn],
    penalty: float,
    progress: Callable[[float], None] = lambda share: None,
) -> Floats:
    """Returns the scores (rows × levels) of all rows, each by the fit that it was left out of.

    All fits come from one inverse: leaving rows out changes the residuals of a fit by the inverse
    of their own block (as in Rasmussen and Williams, Gaussian Processes for Machine Learning,
    2006, section 5.4.2, for a single row).
    """
    progress(0.0)
    whole = np.array(related, dtype=np.float64, order="F")
    whole[np.diag_indices(len(labels))] += penalty / labels.weights
    target = labels.shares.astype(np.float64) - 1 / len(labels.levels)
    factor, _ = dpotrf(whole, lower=True, overwrite_a=True)
    dual = cho_solve((factor, True), target, check_finite=False)
    inverse, _ = dpotri(factor, lower=True, overwrite_c=True)  # its lower half
    scores = np.zeros(target.shape, np.float32)
    for number, (here, train) in enumerate(given):
        progress(number / len(given))
        out = np.setdiff1d(np.arange(len(labels)), train, assume_unique=True)
        block = cho_factor(inverse[np.ix_(out, out)], lower=True, check_finite=False)
        missed = cho_solve(block, dual[out], check_finite=False)
        scores[here] = (target[out] - missed)[np.searchsorted(out, here)]
    return scores


def log_loss(
    scores: Floats, labels: Labels, weights: Floats, taxonomy: Taxonomy, factor: float
) -> float:
    """Returns the mean cross-entropy of probabilities, by row weights."""
    logits = factor * scores.astype(np.float64) + labels.off_scale(taxonomy)
    each = -(labels.shares * log_softmax(logits, axis=1)).sum(axis=1)
    return float((weights * each).sum() / weights.sum())


def sharpen(scores: Floats, labels: Labels, weights: Floats, taxonomy: Taxonomy) -> float:
    """Returns the factor that makes probabilities of left-out scores fit the labels best."""
    own = np.flatnonzero(weights)
    args = scores[own], labels.take(own), weights[own], taxonomy

    def loss(factor: float) -> float:
        return log_loss(*args, factor)

    return float(minimize_scalar(loss, bounds=(0.1, 50.0), method="bounded").x)


def left_out_chances(
    scores: Floats,
    labels: Labels,
    models: NDArray[np.str_],
    weights: Floats,
    taxonomy: Taxonomy,
) -> Chances:
    """Returns probabilities of left-out scores, sharpened on the rows of other models.

    Those were judged by heads that knew a model's own rows, so that one number, how sharp its
    probabilities are, is not quite independent of them; its scores are.
    """
    chances = np.zeros(scores.shape, dtype=np.float64)
    off = labels.off_scale(taxonomy)
    for model in sorted(set(models.tolist())):
        own = models == model
        rest = np.where(own, np.float32(0), weights)
        factor = sharpen(scores, labels, rest if rest.any() else weights, taxonomy)
        chances[own] = softmax(factor * scores[own].astype(np.float64) + off[own], axis=1)
    return chances
