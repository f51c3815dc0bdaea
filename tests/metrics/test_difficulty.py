"""The item response model behind the difficulty of prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flames.metrics.difficulty import Interval, fit_difficulty

Array = NDArray[np.float64]


def simulated(
    models: int, prompts: int, spread: float, *, slopes: float = 0.0, parts: int = 1, seed: int = 0
) -> tuple[Array, NDArray[np.int64], Array, Array, Array]:
    """Returns outcomes, parts, and the true abilities, difficulties and slopes."""
    chance = np.random.default_rng(seed)
    ability = np.linspace(-1.5, 1.5, models)
    difficulty = chance.normal(0, spread, prompts)
    slope = np.exp(chance.normal(0, slopes, prompts))
    logit = slope * (ability[:, None] - difficulty)
    passed = (chance.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(float)
    return passed, np.arange(prompts) % parts, ability, difficulty, slope


def inside(truth: Array, found: Interval) -> float:
    return float(((found.low <= truth) & (truth <= found.high)).mean())


def test_one_parameter_agrees_with_girth() -> None:
    girth = pytest.importorskip("girth")
    passed, parts, *_ = simulated(8, 3000, 1.2)
    ours = fit_difficulty(passed, parts)
    # There, persons are random and items are not: our prompts are its persons, turned round.
    theirs = girth.onepl_mml(passed.astype(int))
    spread, ability = theirs["Discrimination"], -theirs["Discrimination"] * theirs["Difficulty"]
    assert float(ours.spread.value) == pytest.approx(float(spread), abs=0.02)
    assert ours.ability == pytest.approx(ability, abs=0.02)


def test_one_parameter_agrees_with_girth_where_responses_are_missing() -> None:
    girth = pytest.importorskip("girth")
    passed, parts, *_ = simulated(8, 3000, 1.2)
    gone = np.random.default_rng(5).random(passed.shape) < 0.4
    theirs = girth.onepl_mml(girth.tag_missing_data(np.where(gone, 9, passed).astype(int), [0, 1]))
    ours = fit_difficulty(np.where(gone, np.nan, passed), parts)
    assert float(ours.spread.value) == pytest.approx(float(theirs["Discrimination"]), abs=0.03)
    ability = -theirs["Discrimination"] * theirs["Difficulty"]
    assert ours.ability == pytest.approx(ability, abs=0.03)


def test_slopes_agree_with_girth_where_models_are_many() -> None:
    girth = pytest.importorskip("girth")
    passed, parts, *_ = simulated(150, 30, 1.0, slopes=0.5)
    ours = fit_difficulty(passed, parts, slopes=True)
    theirs = girth.twopl_mml(passed.T.astype(int))
    assert ours.slope is not None
    logs = np.log(ours.slope.value), np.log(theirs["Discrimination"])
    assert np.corrcoef(*logs)[0, 1] > 0.95
    assert np.corrcoef(ours.difficulty.value, theirs["Difficulty"])[0, 1] > 0.99


def test_intervals_contain_the_truth_of_most_prompts() -> None:
    passed, parts, ability, difficulty, _ = simulated(12, 600, 1.0)
    truth = 1 - (1 / (1 + np.exp(difficulty - ability[:, None]))).mean(axis=0)
    found = fit_difficulty(passed, parts)
    assert 0.92 < inside(truth, found.failing) < 0.98
    assert found.spread.low < 1.0 < found.spread.high
    assert 0.6 < float(found.reliability.value) < 0.9


def test_without_differences_no_prompt_is_called_hard() -> None:
    passed, parts, *_ = simulated(12, 300, 0.0)
    found = fit_difficulty(passed, parts)
    assert (1 - passed.mean(axis=0)).max() > 0.75  # by chance
    assert found.failing.value.max() < 0.6
    assert found.spread.high < 0.4
    assert (found.failing.high - found.failing.low).min() > 0.01


def test_a_prompt_that_few_models_answered_is_not_the_hardest() -> None:
    passed, parts, *_ = simulated(12, 200, 1.0)
    passed[:, 0], passed[:, 1] = np.nan, 0.0
    passed[3, 0] = 0.0  # one failure against twelve
    found = fit_difficulty(passed, parts)
    assert found.failing.value[0] < found.failing.value[1]
    wide = found.failing.high - found.failing.low
    assert wide[0] > wide[1]


def test_who_answered_is_taken_into_account() -> None:
    passed, parts, *_ = simulated(12, 300, 1.0)
    passed[:, :2] = np.nan
    passed[:3, 0], passed[-3:, 1] = 0.0, 0.0  # the weakest failed one, the strongest the other
    found = fit_difficulty(passed, parts)
    assert found.failing.value[0] < found.failing.value[1]


def test_parts_are_told_apart_even_where_their_prompts_are_not() -> None:
    chance = np.random.default_rng(1)
    parts = np.arange(120) % 3
    rate = np.array([0.2, 0.5, 0.8])[parts]
    passed = (chance.random((6, 120)) < rate).astype(float)
    found = fit_difficulty(passed, parts).part_failing
    assert found.value == pytest.approx([0.8, 0.5, 0.2], abs=0.08)
    assert (found.low[:2] > found.high[1:]).all()


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_anything_gives_finite_values_in_their_intervals(data: st.DataObject) -> None:
    models, prompts = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    values = st.sampled_from([0.0, 0.5, 1.0, float("nan")])
    cells = data.draw(st.lists(values, min_size=models * prompts, max_size=models * prompts))
    passed = np.array(cells).reshape(models, prompts)
    found = fit_difficulty(passed, np.arange(prompts) % 2 if prompts > 1 else np.zeros(1, int))
    for each in (found.failing, found.difficulty, found.part_failing):
        assert np.isfinite(np.concatenate(each)).all()
        assert (each.low < each.high).all()
    assert ((found.failing.low >= 0) & (found.failing.high <= 1)).all()
    order = np.random.default_rng(0).permutation(models)
    again = fit_difficulty(
        passed[order], np.arange(prompts) % 2 if prompts > 1 else np.zeros(1, int)
    )
    assert again.failing.value == pytest.approx(found.failing.value, abs=1e-3)
