"""Training the heads alone, on the states of a frozen backbone that are computed once.

All linear heads are solved by one penalised multinomial regression. The weights of a head are
common weights plus the head's own, both under an L2 penalty, so that small dimensions learn from
large ones (Evgeniou and Pontil, Regularized multi-task learning, 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from flames.errors import UsageError
from flames.records import text_sha256
from flames.scorers.labelled import Labelled
from flames.scorers.trained.backends import Torch
from flames.scorers.trained.engine import Engine
from flames.scorers.trained.load import pick_device
from flames.scorers.trained.settings import Head
from flames.taxonomy import Taxonomy
from flames.text import shorten
from flames.training.leaks import near_same
from flames.training.options import Progress, TrainOptions
from flames.training.rows import Rows
from flames.training.splits import LEFT_OUT, check_dimensions

_BATCH_TOKENS = 4096
_PROMPT_FOLDS = 3


class Fold(NamedTuple):
    """A fold of leave-out evaluation: rows to test on, and rows to train on (masks over rows)."""

    test: NDArray[np.bool_]
    train: NDArray[np.bool_]


def solve_heads(
    model: Any,
    rows: Rows,
    held: Mapping[str, Rows],
    folds: Sequence[Fold],
    options: TrainOptions,
    progress: Progress,
) -> dict[str, Matrix]:
    """Replaces a model's heads by those that fit the training rows best.

    A validation part in `held` chooses the strength of the penalty; the left-out part is scored
    by heads of its `folds_of`. Returns all heads' logits of the rows of each held-back part.
    """
    heads = model.settings.heads
    states = {"training": _states(model, rows, options, progress, "training")}
    for name, each in held.items():
        same = name == LEFT_OUT
        states[name] = states["training"] if same else _states(model, each, options, progress, name)
    dimension, targets = _columns(rows)
    chosen = COSTS[2]
    if "validation" in held:
        progress("choosing the penalty", 1.0)
        goal = _columns(held["validation"])
        losses = {}
        for cost in COSTS:
            made = solve(states["training"], dimension, targets, heads, cost)
            losses[cost] = log_loss(logits_of(states["validation"], made), *goal, heads)
        chosen = min(losses, key=losses.__getitem__)
    progress("solving the heads", 1.0)
    made = solve(states["training"], dimension, targets, heads, chosen)
    with torch.no_grad():
        for head, (weights, bias) in zip(model.classifiers, made, strict=True):
            head.weight.copy_(torch.as_tensor(weights))
            head.bias.copy_(torch.as_tensor(bias))
    logits = {name: logits_of(states[name], made) for name in held if name != LEFT_OUT}
    if LEFT_OUT in held:
        logits[LEFT_OUT] = _left_out(states[LEFT_OUT], rows, heads, folds, progress)
    return logits


def _columns(rows: Rows) -> tuple[NDArray[np.int64], Matrix]:
    dimension = np.array([item["dimension"] for item in rows.items], dtype=np.int64)
    return dimension, np.stack([item["labels"] for item in rows.items]).astype(np.float32)


class _Pooled(Torch):
    def __init__(self, model: Any, bf16: bool, report: Callable[[int], None]) -> None:
        super().__init__(model)
        self._bf16, self._report, self._done = bf16, report, 0

    def compute(self, ids: Any, mask: Any) -> Any:
        with torch.autocast(ids.device.type, torch.bfloat16, self._bf16):
            states = self.model.pooled(ids, mask)
        self._done += len(ids)
        self._report(self._done)
        return states


def _states(model: Any, rows: Rows, options: TrainOptions, progress: Progress, part: str) -> Matrix:
    model.to(pick_device(options.device)).eval()
    what = f"reading the {part} part"
    engine = Engine(
        _Pooled(model, options.bf16, lambda done: progress(what, done / len(rows))),
        model.config.text_config.hidden_size,
        pad_id=model.settings.pad_id,
        padding_side=model.settings.padding_side,
        tokens=_BATCH_TOKENS,
    )
    states = engine.compute(rows.encoded)
    if not np.isfinite(states).all():
        cure = options.exact or "it cannot be used on such texts"
        raise UsageError(f"the backbone's states are not finite: {cure}")
    return states


def folds_of(rows: Sequence[Labelled], taxonomy: Taxonomy) -> list[Fold]:
    """Splits rows into folds: each model with each third of the prompts is tested on once.

    The heads of a fold are solved on rows of other models and other prompts that are not
    (nearly) the same as one of its own rows.
    """
    models = np.array([row.key.model for row in rows])
    prompts = np.array([int(text_sha256(row.key.prompt_id), 16) % _PROMPT_FOLDS for row in rows])
    alike = near_same(rows)
    folds = []
    for name in dict.fromkeys(models.tolist()):
        for number in range(_PROMPT_FOLDS):
            test = (models == name) & (prompts == number)
            train = (models != name) & (prompts != number)
            for a, b in alike:
                train[a] &= not test[b]
                train[b] &= not test[a]
            if test.any():
                left = [row for row, here in zip(rows, train, strict=True) if here]
                check_dimensions(f"training (without {shorten(name)})", left, taxonomy)
                folds.append(Fold(test, train))
    return folds


def _left_out(
    states: Matrix, rows: Rows, heads: Sequence[Head], folds: Sequence[Fold], progress: Progress
) -> Matrix:
    dimension, targets = _columns(rows)
    logits = np.zeros((len(rows), sum(len(head.scale) for head in heads)), dtype=np.float32)
    for number, (test, train) in enumerate(folds):
        progress("evaluating the left-out folds", number / len(folds))
        made = solve(states[train], dimension[train], targets[train], heads)
        logits[test] = logits_of(states[test], made)
    return logits


COSTS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Weights of the loss relative to the penalty; the third is used without validation data."""

_OWN = 0.3  # how far a head may deviate from the common weights
_BIAS = 0.3

Matrix = NDArray[np.float32]
Heads = list[tuple[Matrix, Matrix]]


def solve(
    states: Matrix,
    dimension: NDArray[np.int64],
    targets: Matrix,
    heads: Sequence[Head],
    cost: float = COSTS[2],
) -> Heads:
    """Solves the heads that fit the targets best under the penalty.

    `states` are (rows × width), `dimension` is the head of each row, and `targets` (rows × most
    classes) the share per class of that head; a row's targets sum to its weight. Classes of the
    same score share common weights. `cost` is the weight of the loss relative to the penalty.
    Returns weights (classes × width) and bias of each head, for unscaled states.
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
        return np.asarray(flat[places[index]] + root * flat[ends[index] : ends[index + 1]])

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        value, slope = 0.5 * float(np.sum(weights * weights)), weights.copy()
        narrow = weights.astype(np.float32)
        for index, (known_here, target) in enumerate(parts):
            chances = log_softmax(known_here @ of_head(narrow, index).T, axis=1)
            value -= float(np.sum(target * chances, dtype=np.float64))
            error = target.sum(axis=1, keepdims=True) * np.exp(chances) - target
            change = error.T @ known_here
            slope[places[index]] += change  # a scale never names a score twice
            slope[ends[index] : ends[index + 1]] += root * change
        return value, slope.ravel()

    found = minimize(
        loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}
    ).x.reshape(shape)
    made = []
    for index in range(len(heads)):
        each = of_head(found, index)
        weights = each[:, :-1] / spread
        bias = np.sqrt(_BIAS) * each[:, -1] - weights @ middle
        made.append((weights.astype(np.float32), bias.astype(np.float32)))
    return made


def logits_of(states: Matrix, heads: Heads) -> Matrix:
    """Computes all heads' logits (rows × all classes)."""
    return np.concatenate([states @ weights.T + bias for weights, bias in heads], axis=1)


def log_loss(
    logits: Matrix, dimension: NDArray[np.int64], targets: Matrix, heads: Sequence[Head]
) -> float:
    """Computes the mean cross-entropy of the rows, each under its own head."""
    start, total = 0, 0.0
    for index, head in enumerate(heads):
        rows = np.flatnonzero(dimension == index)
        here = logits[rows, start : start + len(head.scale)].astype(np.float64)
        total -= float(np.sum(targets[rows, : len(head.scale)] * log_softmax(here, axis=1)))
        start += len(head.scale)
    return total / max(float(targets.sum()), 1e-12)
