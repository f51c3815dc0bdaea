"""Least squares whose heads lean on one another, solved over rows instead of features.

The weights of a head are common weights plus the dimension's own plus the subcomponent's, each
under an L2 penalty, so that small parts learn from large ones (Evgeniou and Pontil, Regularized
multi-task learning, 2004). With fewer rows than features, the dual is the smaller problem: a head's
weights are the rows' features times their dual coefficients times how related head and row are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from flames.taxonomy import Taxonomy

Floats = NDArray[np.float32]
Names = NDArray[np.str_]

_OFF_SCALE = -1e9


@dataclass(frozen=True)
class Leaning:
    """How freely weights may vary, as shares of the freedom of the common ones.

    Args:
        dimension: The deviation of a dimension's weights.
        part: The deviation of a subcomponent's weights from its dimension's.
        bias: The squared size of the constant feature, where the features' mean is 1.
    """

    dimension: float = 0.25
    part: float = 0.5
    bias: float = 0.3

    @property
    def without_parts(self) -> Leaning:
        """The same without weights of subcomponents."""
        return replace(self, part=0.0)

    def among(self, rows: Labels, others: Labels) -> Floats:
        """Returns how related labelled rows are (rows × others)."""
        return self.between(rows.dimensions, rows.parts, others.dimensions, others.parts)

    def between(self, dimensions: Names, parts: Names, others: Names, theirs: Names) -> Floats:
        """Returns how related rows are (rows × others); "" is related to nothing."""
        same = (dimensions[:, None] == others[None]) & (dimensions != "")[:, None]
        alike = (parts[:, None] == theirs[None]) & (parts != "")[:, None] & same
        related: Floats = (1 + self.dimension * same + self.part * alike).astype(np.float32)
        return related


@dataclass(frozen=True)
class Labels:
    """Labelled rows, column by column.

    `levels` are all scores, best first. A row of no dimension ("") teaches the common weights; its
    scale has the two ends of the levels.
    """

    levels: tuple[int, ...]
    scores: NDArray[np.int64]
    dimensions: Names
    parts: Names
    weights: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """Returns some of the rows."""
        return Labels(
            self.levels,
            self.scores[rows],
            self.dimensions[rows],
            self.parts[rows],
            self.weights[rows],
        )

    def off_scale(self, taxonomy: Taxonomy) -> Floats:
        """Returns what is added to the logits (rows × levels), so that they stay on the scale."""
        scales = {each.name: each.scale for each in taxonomy.dimensions}
        ends = (self.levels[0], self.levels[-1])
        allowed = [[level in scales.get(d, ends) for level in self.levels] for d in self.dimensions]
        return np.where(np.array(allowed).reshape(-1, len(self.levels)), 0, _OFF_SCALE).astype(
            np.float32
        )

    def balanced(self) -> Labels:
        """Returns the rows with weights under which a dimension's levels count the same."""
        weights = self.weights.copy()
        for dimension in np.unique(self.dimensions):
            own = self.dimensions == dimension
            levels, index = np.unique(self.scores[own], return_inverse=True)
            total = np.bincount(index, weights[own], len(levels))
            weights[own] *= (total.sum() / len(levels) / total)[index]
        return Labels(self.levels, self.scores, self.dimensions, self.parts, weights)


def solve_dual(kernel: Floats, labels: Labels, leaning: Leaning, penalty: float) -> Floats:
    """Fits least squares on one column per level; returns dual coefficients (rows × levels).

    `kernel` holds the products of the rows' features; a row's error counts by its weight against
    the penalty on the weights.
    """
    whole = (kernel + np.float32(leaning.bias)) * leaning.among(labels, labels)
    whole[np.diag_indices(len(labels))] += np.float32(penalty) / labels.weights
    truth = labels.scores[:, None] == np.array(labels.levels)[None]
    target = truth.astype(np.float32) - np.float32(1 / len(labels.levels))
    factor = cho_factor(whole, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, target, check_finite=False), dtype=np.float32)


def scores_of(
    kernel: Floats, rows: Labels, labels: Labels, dual: Floats, leaning: Leaning
) -> Floats:
    """Returns the scores (rows × levels) of `rows` from their products with the trained rows."""
    related = leaning.among(rows, labels)
    return np.asarray(((kernel + np.float32(leaning.bias)) * related) @ dual)


def columns_of(
    features: Any,
    labels: Labels,
    duals: tuple[Floats, Floats],
    leaning: Leaning,
    taxonomy: Taxonomy,
) -> tuple[Floats, Floats, dict[str, tuple[tuple[int, ...], tuple[int, int]]]]:
    """Turns dual coefficients into weights (features × classes), biases and heads.

    A dimension's head judges responses that name no subcomponent, so it must not count on the
    deviation that theirs would add: `duals` are those with and those without parts.
    """
    columns, biases, heads, at = [], [], {}, 0
    for dimension in taxonomy.dimensions:
        classes = [labels.levels.index(level) for level in dimension.scale]
        for part in ("", *(each.name for each in dimension.subcomponents)):
            own = leaning if part else leaning.without_parts
            related = own.between(
                np.array([dimension.name]), np.array([part]), labels.dimensions, labels.parts
            )[0]
            dual = duals[0 if part else 1][:, classes] * related[:, None]
            columns.append(np.asarray(features.T @ dual))
            biases.append(leaning.bias * dual.sum(axis=0))
            name = f"{dimension.name}/{part}" if part else dimension.name
            heads[name] = (dimension.scale, (at, at + len(classes)))
            at += len(classes)
    return np.concatenate(columns, axis=1), np.concatenate(biases), heads
