"""Linear heads on fixed states: one penalised multinomial regression for all of them.

The weights of a head are common weights plus the head's own, both under an L2 penalty, so that
small dimensions learn from large ones (Evgeniou and Pontil, Regularized multi-task learning, 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from flames.scorers.classifier.settings import Head

COSTS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""What a wrong answer costs against the penalty; the third is used where nothing chooses."""

_OWN = 0.3  # how far a head may deviate from what is common
_BIAS = 0.3
_STEPS = 200

Matrix = NDArray[np.float32]
Heads = list[tuple[Matrix, Matrix]]


def solve(
    states: Matrix,
    dimension: NDArray[np.int64],
    targets: Matrix,
    heads: Sequence[Head],
    cost: float = COSTS[2],
) -> Heads:
    """The heads that fit the targets best under the penalty.

    Args:
        states: What the heads read (rows × width).
        dimension: The head that each row belongs to (rows).
        targets: A share a class of that head (rows × most classes), zero beyond its own; a
            row's targets sum to its weight.
        heads: Their scales; classes of the same score have common weights.
        cost: Of errors, against the penalty.

    Returns:
        Weights (classes × width) and bias (classes) of each head, for states as they come.
    """
    middle = states.mean(axis=0)
    spread = (states.std(axis=0) + 1e-6) * np.sqrt(states.shape[1])
    known = np.empty((len(states), states.shape[1] + 1), dtype=np.float32)
    known[:, :-1] = (states - middle) / spread
    known[:, -1] = np.sqrt(_BIAS)
    scores = sorted({score for head in heads for score in head.scale}, reverse=True)
    places = [[scores.index(score) for score in head.scale] for head in heads]
    rows = [np.flatnonzero(dimension == index) for index in range(len(heads))]
    parts = [(known[r], cost * targets[r, : len(p)]) for r, p in zip(rows, places, strict=True)]
    ends = np.cumsum([len(scores), *(len(place) for place in places)])
    shape = int(ends[-1]), known.shape[1]
    root = np.sqrt(_OWN)

    def of_head(flat: NDArray[Any], index: int) -> NDArray[Any]:
        own = flat[ends[index] : ends[index + 1]]
        return np.asarray(flat[places[index]] + root * own)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        value, slope = 0.5 * float(np.sum(weights * weights)), weights.copy()
        narrow = weights.astype(np.float32)
        for index, (known_here, target) in enumerate(parts):
            logits = known_here @ of_head(narrow, index).T
            top = logits.max(axis=1, keepdims=True)
            norm = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
            value -= float(np.sum(target * (logits - norm), dtype=np.float64))
            error = target.sum(axis=1, keepdims=True) * np.exp(logits - norm) - target
            change = error.T @ known_here
            slope[places[index]] += change  # a scale never names a score twice
            slope[ends[index] : ends[index + 1]] += root * change
        return value, slope.ravel()

    found = minimize(
        loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B",
        options={"maxiter": _STEPS},
    ).x.reshape(shape)  # fmt: skip
    made = []
    for index in range(len(heads)):
        each = of_head(found, index)
        weights = each[:, :-1] / spread
        bias = np.sqrt(_BIAS) * each[:, -1] - weights @ middle
        made.append((weights.astype(np.float32), bias.astype(np.float32)))
    return made


def logits_of(states: Matrix, heads: Heads) -> Matrix:
    """All heads' logits (rows × all classes)."""
    return np.concatenate([states @ weights.T + bias for weights, bias in heads], axis=1)


def log_loss(
    logits: Matrix, dimension: NDArray[np.int64], targets: Matrix, heads: Sequence[Head]
) -> float:
    """Mean cross-entropy of the rows, each under its own head."""
    start, total = 0, 0.0
    for index, head in enumerate(heads):
        rows = np.flatnonzero(dimension == index)
        here = logits[rows, start : start + len(head.scale)].astype(np.float64)
        top = here.max(axis=1, keepdims=True) if len(rows) else here[:, :1]
        norm = np.log(np.exp(here - top).sum(axis=1, keepdims=True)) + top
        total -= float(np.sum(targets[rows, : len(head.scale)] * (here - norm)))
        start += len(head.scale)
    return total / max(float(targets.sum()), 1e-12)
