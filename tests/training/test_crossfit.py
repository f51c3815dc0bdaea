"""Rows that are judged by heads fitted without them."""

from dataclasses import replace

import numpy as np
import pytest

from flames.taxonomy import default_taxonomy
from flames.training.crossfit import left_out, left_out_chances, log_loss, sharpen, turns
from flames.training.multilevel import Labels, Leaning, solve_dual

TAXONOMY = default_taxonomy()
LEVELS = (3, 2, 1)
MODELS = np.array([f"m{number % 3}" for number in range(90)])
PROMPTS = np.array([f"p{number // 3}" for number in range(90)])


def _labels(seed: int) -> tuple[Labels, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(90, 5)).astype(np.float32)
    scores = np.where(features[:, 0] + 0.3 * rng.normal(size=90) > 0, 3, 1)
    safety, nothing = np.full(90, "Safety"), np.full(90, "")
    labels = Labels.of_scores(LEVELS, scores, safety, nothing, np.ones(90, np.float32))
    return labels, (features @ features.T / 5).astype(np.float32)


def test_each_row_is_judged_once_without_its_model_and_its_prompt() -> None:
    extra = np.arange(90) >= 87
    taken = list(turns(MODELS, PROMPTS, extra, alike=[(0, 40)]))
    judged = np.concatenate([here for here, _ in taken])
    assert sorted(judged) == list(range(87))
    for here, train in taken:
        inside = train[train < 87]
        assert not set(MODELS[here]) & set(MODELS[inside])
        assert not set(PROMPTS[here]) & set(PROMPTS[inside])
        assert set(range(87, 90)) <= set(train)
        assert not (0 in here and 40 in train)
        assert not (40 in here and 0 in train)


def test_with_one_model_only_prompts_are_left_out() -> None:
    taken = list(turns(np.full(90, "one"), PROMPTS))
    assert 1 < len(taken) <= 6
    assert all(set(PROMPTS[here]).isdisjoint(PROMPTS[train]) for here, train in taken)


def test_left_out_scores_are_those_of_the_fit_without_them() -> None:
    labels, kernel = _labels(0)
    related = Leaning().relate(kernel, labels, labels)
    taken = list(turns(MODELS, PROMPTS))
    scores = left_out(related, labels, taken, 0.3)
    here, train = taken[2]
    dual = solve_dual(related[np.ix_(train, train)], labels.take(train), 0.3)
    np.testing.assert_allclose(scores[here], related[np.ix_(here, train)] @ dual, atol=1e-5)


def test_scores_tell_nothing_of_the_labels_that_were_left_out() -> None:
    labels, kernel = _labels(2)
    own = MODELS == "m1"
    turned = replace(labels, shares=np.where(own[:, None], labels.shares[:, ::-1], labels.shares))
    related, taken = Leaning().relate(kernel, labels, labels), list(turns(MODELS, PROMPTS))
    first, second = (left_out(related, each, taken, 0.3) for each in (labels, turned))
    np.testing.assert_allclose(first[own], second[own], atol=1e-5)
    assert (np.abs(first[~own] - second[~own]) > 1e-3).any(axis=1).all()


def test_the_factor_makes_probabilities_least_surprising() -> None:
    labels, kernel = _labels(1)
    related = Leaning().relate(kernel, labels, labels)
    scores = left_out(related, labels, list(turns(MODELS, PROMPTS)), 0.3)
    ones = np.ones(90, np.float32)
    factor = sharpen(scores, labels, ones, TAXONOMY)
    best = log_loss(scores, labels, ones, TAXONOMY, factor)
    for other in (0.8 * factor, 1.25 * factor):
        assert log_loss(scores, labels, ones, TAXONOMY, other) > best
    chances = left_out_chances(scores, labels, MODELS, ones, TAXONOMY)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    own = MODELS == "m1"
    without = sharpen(scores, labels, (~own).astype(np.float32), TAXONOMY)
    odds = np.log(chances[own, 0] / chances[own, 2])
    assert odds == pytest.approx(without * (scores[own, 0] - scores[own, 2]), rel=1e-4)
