"""Least squares whose heads lean on one another, solved over rows instead of features.

The weights of a head are common weights plus the dimension's own plus the subcomponent's, each
under an L2 penalty, so that small parts learn from large ones (Evgeniou and Pontil, Regularized
multi-task learning, 2004). With fewer rows than features, the dual is the smaller problem: a head's
weights are the rows' features times their dual coefficients times how related head and row are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
        same = _equal(dimensions, others)
        alike = _equal(parts, theirs) & same
        related = np.ones(same.shape, np.float32)
        related[same] += np.float32(self.dimension)
        related[alike] += np.float32(self.part)
        return related

    def relate(self, kernel: Floats, rows: Labels, others: Labels) -> Floats:
        """Returns products of features (rows × others) as heads see them: those plus constant."""
        found: Floats = self.among(rows, others)
        found *= kernel + np.float32(self.bias)
        return found


def _equal(names: Names, others: Names) -> NDArray[np.bool_]:
    """Which names are the same (names × others), where there is one."""
    _, codes = np.unique(np.concatenate([names, others]), return_inverse=True)
    mine, theirs = codes[: len(names)], codes[len(names) :]
    found: NDArray[np.bool_] = (mine[:, None] == theirs[None]) & (names != "")[:, None]
    return found


@dataclass(frozen=True)
class Labels:
    """Labelled rows, column by column.

    `levels` are all scores, best first; `shares` (rows × levels) says how much of a row's label
    each of them is. A row of no dimension ("") teaches the common weights; its scale has the two
    ends of the levels.
    """

    levels: tuple[int, ...]
    shares: Floats
    dimensions: Names
    parts: Names
    weights: Floats

    @classmethod
    def of_scores(
        cls, levels: tuple[int, ...], scores: NDArray[np.int64], dimensions: Names, parts: Names,
        weights: Floats,
    ) -> Labels:  # fmt: skip
        """Makes labels of one score a row."""
        shares = (scores[:, None] == np.array(levels)[None]).astype(np.float32)
        return cls(levels, shares, dimensions, parts, weights)

    def __len__(self) -> int:
        return len(self.shares)

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """Returns some of the rows."""
        return Labels(
            self.levels,
            self.shares[rows],
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
            total = weights[own].astype(np.float64) @ self.shares[own]
            there = total > 0
            factors = np.zeros_like(total)
            factors[there] = total.sum() / there.sum() / total[there]
            weights[own] *= self.shares[own] @ factors
        return replace(self, weights=weights)

    def smoothed(self, share: float, taxonomy: Taxonomy) -> Labels:
        """Returns the rows with a share of each label spread over its scale."""
        on = (self.off_scale(taxonomy) == 0).astype(np.float32)
        spread = on / on.sum(axis=1, keepdims=True)
        return replace(self, shares=(1 - share) * self.shares + share * spread)


def solve_dual(related: Floats, labels: Labels, penalty: float) -> Floats:
    """Fits least squares on one column per level; returns dual coefficients (rows × levels).

    `related` is what `Leaning.relate` makes of the products of the rows' features, and is used up;
    a row's error counts by its weight against the penalty on the weights.
    """
    related[np.diag_indices(len(labels))] += np.float32(penalty) / labels.weights
    target = labels.shares - np.float32(1 / len(labels.levels))
    factor = cho_factor(related, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, target, check_finite=False), dtype=np.float32)


class Heads(NamedTuple):
    """Weights (features × classes), a bias per class, and each head's scale and classes."""

    weights: Floats
    bias: Floats
    places: dict[str, tuple[tuple[int, ...], tuple[int, int]]]


def standardised(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns features of mean 0 whose products are about 1; mean and scale that made them so."""
    mean, scale = values.mean(axis=0), values.std(axis=0) * np.sqrt(values.shape[1]) + 1e-3
    return ((values - mean) / scale).astype(np.float32), mean, scale


def fit_heads(
    features: Any, kernel: Floats, labels: Labels, leaning: Leaning, penalty: float,
    taxonomy: Taxonomy,
) -> Heads:  # fmt: skip
    """Fits all heads on all rows, whose products of features `kernel` holds."""
    leanings = (leaning, leaning.without_parts) if any(labels.parts != "") else (leaning,)
    duals = [solve_dual(each.relate(kernel, labels, labels), labels, penalty) for each in leanings]
    return heads_of(features, labels, (duals[0], duals[-1]), leaning, taxonomy)


def heads_of(
    features: Any, labels: Labels, duals: tuple[Floats, Floats], leaning: Leaning,
    taxonomy: Taxonomy,
) -> Heads:  # fmt: skip
    """Turns dual coefficients into heads.

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
    return Heads(np.concatenate(columns, axis=1), np.concatenate(biases), heads)
