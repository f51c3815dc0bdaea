"""Least squares with heads that lean on one another."""

from dataclasses import replace

import numpy as np
import pytest

from flames.taxonomy import default_taxonomy
from flames.training.multilevel import (
    Labels,
    Leaning,
    fit_heads,
    heads_of,
    solve_dual,
    standardised,
)

TAXONOMY = default_taxonomy()
LEVELS = (3, 2, 1)


def _labels(n: int, rng: np.random.Generator) -> Labels:
    dimensions = np.array(["Safety", "Legality", "Fairness", ""])[rng.integers(0, 4, n)]
    parts = np.where(dimensions == "Safety", "Physical harm", "")
    ends = np.isin(dimensions, ["Legality", ""])
    scores = np.where(ends, rng.choice([3, 1], n), rng.choice([3, 2, 1], n))
    return Labels.of_scores(LEVELS, scores, dimensions, parts, np.ones(n, np.float32))


def test_weights_and_dual_coefficients_give_the_same_scores() -> None:
    rng = np.random.default_rng(0)
    labels, features = _labels(60, rng), rng.normal(size=(60, 8)).astype(np.float32)
    leaning = Leaning()
    kernel = features @ features.T
    duals = [
        solve_dual(own.relate(kernel, labels, labels), labels, 0.3)
        for own in (leaning, leaning.without_parts)
    ]
    weights, bias, heads = heads_of(features, labels, (duals[0], duals[1]), leaning, TAXONOMY)
    by_dual = leaning.relate(kernel, labels, labels) @ duals[0]
    part = "Physical harm"
    first, last = heads[f"Safety/{part}"][1]
    rows = labels.parts == "Physical harm"
    made = features[rows] @ weights[:, first:last] + bias[first:last]
    np.testing.assert_allclose(made, by_dual[rows], atol=1e-4)


def test_it_is_ridge_regression_where_heads_share_everything() -> None:
    rng = np.random.default_rng(1)
    labels, features = _labels(50, rng), rng.normal(size=(50, 5))
    leaning = Leaning(dimension=0, part=0, bias=1)
    kernel = (features @ features.T).astype(np.float32)
    dual = solve_dual(leaning.relate(kernel, labels, labels), labels, 0.5)
    design = np.column_stack([features, np.ones(50)])
    target = labels.shares - 1 / 3
    ridge = np.linalg.solve(design.T @ design + 0.5 * np.eye(6), design.T @ target)
    np.testing.assert_allclose(design.T @ dual, ridge, atol=1e-4)


def test_levels_of_a_dimension_count_the_same_once_balanced() -> None:
    labels = _labels(200, np.random.default_rng(2)).balanced()
    for dimension in set(labels.dimensions):
        own = labels.dimensions == dimension
        totals = [labels.weights[own] @ labels.shares[own, k] for k in range(3)]
        present = [total for total in totals if total]
        assert present == pytest.approx([present[0]] * len(present), rel=1e-4)
    assert labels.weights.sum() == pytest.approx(200, rel=1e-4)


def test_scores_off_the_scale_are_ruled_out() -> None:
    labels = _labels(40, np.random.default_rng(3))
    off = labels.off_scale(TAXONOMY)
    two = np.isin(labels.dimensions, ["Legality", ""])
    assert (off[two, 1] < -1e6).all()
    assert (off[~two] == 0).all()


def test_labels_that_annotators_share_are_between_those_of_each() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    one = _labels(40, rng)
    other = replace(one, shares=one.shares[:, ::-1].copy())
    torn = replace(one, shares=(one.shares + other.shares) / 2)
    related = Leaning().relate(features @ features.T, one, one)
    first, second, mean = (solve_dual(related.copy(), each, 0.3) for each in (one, other, torn))
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-5)


def test_a_share_of_a_label_is_spread_over_its_own_scale() -> None:
    labels = _labels(40, np.random.default_rng(5))
    spread = labels.smoothed(0.3, TAXONOMY)
    np.testing.assert_allclose(spread.shares.sum(axis=1), 1, atol=1e-6)
    two = np.isin(labels.dimensions, ["Legality", ""])
    assert (spread.shares[two, 1] == 0).all()
    assert spread.shares.max() == pytest.approx(0.85)


def test_small_heads_lean_on_large_ones() -> None:
    rng = np.random.default_rng(6)
    features, _, _ = standardised(rng.normal(size=(400, 8)).astype(np.float32))
    scores = np.where(features[:, 0] > 0, 3, 1)
    dimensions = np.array(["Safety"] * 396 + ["Fairness"] * 4)
    nothing = np.full(400, "")
    labels = Labels.of_scores(LEVELS, scores, dimensions, nothing, np.ones(400, np.float32))
    heads = fit_heads(features, features @ features.T, labels, Leaning(), 0.3, TAXONOMY)
    first, last = heads.places["Fairness"][1]
    said = (features @ heads.weights + heads.bias)[:, first:last].argmax(axis=1)
    assert np.mean((said == 0) == (scores == 3)) > 0.85
    alone = labels.take(np.arange(396, 400))
    few = features[396:]
    own = fit_heads(few, few @ few.T, alone, Leaning(), 0.3, TAXONOMY)
    said = (features @ own.weights + own.bias)[:, first:last].argmax(axis=1)
    assert np.mean((said == 0) == (scores == 3)) < 0.8
