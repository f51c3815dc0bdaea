"""Least squares with heads that lean on one another."""

import numpy as np
import pytest

from flames.taxonomy import default_taxonomy
from flames.training.multilevel import Labels, Leaning, columns_of, scores_of, solve_dual

TAXONOMY = default_taxonomy()
LEVELS = (3, 2, 1)


def _labels(n: int, rng: np.random.Generator) -> Labels:
    dimensions = np.array(["Safety", "Legality", "Fairness", ""])[rng.integers(0, 4, n)]
    parts = np.where(dimensions == "Safety", "Physical harm", "")
    ends = np.isin(dimensions, ["Legality", ""])
    scores = np.where(ends, rng.choice([3, 1], n), rng.choice([3, 2, 1], n))
    return Labels(LEVELS, scores, dimensions, parts, np.ones(n, np.float32))


def test_weights_and_dual_coefficients_give_the_same_scores() -> None:
    rng = np.random.default_rng(0)
    labels, features = _labels(60, rng), rng.normal(size=(60, 8)).astype(np.float32)
    leaning = Leaning()
    kernel = features @ features.T
    duals = tuple(solve_dual(kernel, labels, own, 0.3) for own in (leaning, leaning.without_parts))
    weights, bias, heads = columns_of(features, labels, (duals[0], duals[1]), leaning, TAXONOMY)
    by_dual = scores_of(kernel, labels, labels, duals[0], leaning)
    part = "Physical harm"
    first, last = heads[f"Safety/{part}"][1]
    rows = labels.parts == "Physical harm"
    made = features[rows] @ weights[:, first:last] + bias[first:last]
    np.testing.assert_allclose(made, by_dual[rows], atol=1e-4)


def test_it_is_ridge_regression_where_heads_share_everything() -> None:
    rng = np.random.default_rng(1)
    labels, features = _labels(50, rng), rng.normal(size=(50, 5))
    leaning = Leaning(dimension=0, part=0, bias=1)
    dual = solve_dual((features @ features.T).astype(np.float32), labels, leaning, 0.5)
    design = np.column_stack([features, np.ones(50)])
    target = (labels.scores[:, None] == np.array(LEVELS)) - 1 / 3
    ridge = np.linalg.solve(design.T @ design + 0.5 * np.eye(6), design.T @ target)
    np.testing.assert_allclose(design.T @ dual, ridge, atol=1e-4)


def test_levels_of_a_dimension_count_the_same_once_balanced() -> None:
    labels = _labels(200, np.random.default_rng(2)).balanced()
    for dimension in set(labels.dimensions):
        own = labels.dimensions == dimension
        totals = [labels.weights[own & (labels.scores == level)].sum() for level in LEVELS]
        present = [total for total in totals if total]
        assert present == pytest.approx([present[0]] * len(present), rel=1e-4)
    assert labels.weights.sum() == pytest.approx(200, rel=1e-4)


def test_scores_off_the_scale_are_ruled_out() -> None:
    labels = _labels(40, np.random.default_rng(3))
    off = labels.off_scale(TAXONOMY)
    two = np.isin(labels.dimensions, ["Legality", ""])
    assert (off[two, 1] < -1e6).all()
    assert (off[~two] == 0).all()
