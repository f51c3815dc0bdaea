from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.metrics.rates import measure, tally_prompts
from flames.metrics.result import Group, Overall, Result
from flames.metrics.source import Source
from flames.records import PromptSetInfo, Verdict
from flames.taxonomy import default_taxonomy

TAXONOMY = default_taxonomy()
SCALES = {d.name: d.scale for d in TAXONOMY.dimensions}


def verdict(
    dimension: str,
    chance: float | None,
    prompt: int,
    sample: int = 0,
    *,
    score: int | None = None,
    **fields: Any,
) -> Verdict:
    """A verdict with that probability of the best score; its score is the likelier end."""
    best, worst = SCALES[dimension][0], SCALES[dimension][-1]
    given = None if chance is None else {str(best): chance, str(worst): 1 - chance}
    own = best if (chance or 0) > 0.5 else worst
    return Verdict(
        prompt_id=f"{dimension}-{prompt}",
        model="m",
        sample=sample,
        dimension=dimension,
        scorer="s@1",
        score=own if score is None else score,
        **{"probabilities": given, **fields},
    )


def measured(verdicts: list[Verdict], resamples: int = 500) -> Result:
    return measure(
        Source(
            model="m",
            scorer="s@1",
            prompt_set=PromptSetInfo(name="test", sha256="0" * 64, n=1),
            verdicts=tuple(verdicts),
            notes=(),
            origin=None,  # type: ignore[arg-type]
        ),
        resamples=resamples,
    )


def everywhere(chances: list[float | None]) -> list[Verdict]:
    return [verdict(name, p, i) for name in SCALES for i, p in enumerate(chances)]


def expected(of: Group | Overall) -> float:
    assert of.expected_harmless_rate is not None
    return of.expected_harmless_rate.value


chances = st.floats(0, 1).map(lambda chance: round(chance, 4))


@given(st.fixed_dictionaries({name: st.lists(chances, min_size=1, max_size=40) for name in SCALES}))
@settings(max_examples=40, deadline=None)
def test_the_expected_rate_is_the_mean_probability_and_its_interval_holds_it(
    given_chances: dict[str, list[float]],
) -> None:
    verdicts = [verdict(n, p, i) for n, own in given_chances.items() for i, p in enumerate(own)]
    result = measured(verdicts, resamples=200)
    for name, own in given_chances.items():
        group = result.dimensions[name]
        assert expected(group) == pytest.approx(100 * sum(own) / len(own), abs=1e-6)
        assert group.with_probabilities == group.scored == len(own)
    means = [sum(own) / len(own) for own in given_chances.values()]
    assert expected(result.overall) == pytest.approx(100 * sum(means) / len(means), abs=1e-6)
    for each in (*result.dimensions.values(), result.overall):
        estimate = each.expected_harmless_rate
        assert estimate is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 100
        assert estimate.high - estimate.low > 0.01


@given(st.lists(chances, min_size=1, max_size=30), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_verdicts_changes_nothing(own: list[float], seed: int) -> None:
    verdicts = everywhere(list(own))
    shuffled = random.Random(seed).sample(verdicts, len(verdicts))
    first, second = measured(verdicts, 50), measured(shuffled, 50)
    assert first.overall == second.overall
    assert first.dimensions == second.dimensions


def test_without_probabilities_there_is_no_expected_rate() -> None:
    result = measured(everywhere([None] * 5))
    for each in (*result.dimensions.values(), result.overall):
        assert each.expected_harmless_rate is None
        assert each.with_probabilities == 0
        assert each.harmless_rate is not None
    assert not result.notes


def test_only_scored_verdicts_with_probabilities_count() -> None:
    verdicts = [verdict("Safety", p, i) for i, p in enumerate([0.9, 0.7, None, None])]
    verdicts.append(verdict("Safety", 0.1, 9).model_copy(update={"score": None, "unscored": "x"}))
    group = measured(verdicts).dimensions["Safety"]
    assert (group.n, group.scored, group.with_probabilities) == (5, 4, 2)
    assert expected(group) == pytest.approx(80)


def test_one_dimension_without_probabilities_leaves_no_overall_value() -> None:
    verdicts = [verdict(n, None if n == "Legality" else 0.8, i) for n in SCALES for i in range(6)]
    result = measured(verdicts)
    assert result.overall.harmless_rate is not None
    assert result.overall.expected_harmless_rate is None
    assert result.overall.with_probabilities == 24
    assert expected(result.dimensions["Safety"]) == pytest.approx(80)


@pytest.mark.parametrize(
    ("probabilities", "chance"),
    [
        ({"3": 0.7, "2": 0.2, "1": 0.1}, 0.7),
        ({"3": 0.3333, "2": 0.3333, "1": 0.3333}, 0.3333),
        ({"1": 1.0}, 0.0),
        ({"2": 0.5, "1": 0.5}, 0.0),
        ({"3": 70.0, "2": 20.0, "1": 10.0}, None),
        ({"3": 0.7}, None),
        ({"3": float("nan"), "1": 0.5}, None),
        ({"3": float("inf"), "1": 0.5}, None),
        ({"3": 1.5, "1": -0.5}, None),
        ({"harmless": 0.7, "harmful": 0.3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_only_distributions_over_the_scale_are_read(
    probabilities: dict[str, float] | None, chance: float | None
) -> None:
    one = verdict("Safety", None, 0, score=3, probabilities=probabilities)
    found = tally_prompts([one, verdict("Safety", None, 1, score=1)], TAXONOMY).expected
    assert found.n == (chance is not None)
    if chance is not None:
        assert float(found.rate) == chance


def test_repeats_that_agree_tell_no_more_than_one_response() -> None:
    rng = np.random.default_rng(3)
    own = [round(float(p), 4) for p in rng.beta(1, 1, 60)]
    once = measured([verdict("Safety", p, i) for i, p in enumerate(own)])
    many = measured([verdict("Safety", p, i, s) for i, p in enumerate(own) for s in range(20)])
    first = once.dimensions["Safety"].expected_harmless_rate
    second = many.dimensions["Safety"].expected_harmless_rate
    assert first is not None
    assert second is not None
    assert second.value == first.value
    assert second.method == "wilson, effective size by spread"
    assert second.high - second.low == pytest.approx(first.high - first.low, rel=0.15)


def test_repeats_that_differ_count_for_more() -> None:
    rng = np.random.default_rng(4)
    verdicts = [
        verdict("Safety", round(float(rng.beta(1, 1)), 4), i, s)
        for i in range(40)
        for s in range(10)
    ]
    assert tally_prompts(verdicts, TAXONOMY).expected.size > 250


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60))
@settings(max_examples=30, deadline=None)
def test_a_scorer_that_is_always_sure_expects_what_it_counts(own: list[float]) -> None:
    group = measured([verdict("Legality", p, i) for i, p in enumerate(own)]).dimensions["Legality"]
    counted, found = group.harmless_rate, group.expected_harmless_rate
    assert counted is not None
    assert found is not None
    assert found.value == pytest.approx(counted.value)
    assert found.high - found.low == pytest.approx(counted.high - counted.low, rel=0.35)


@given(st.lists(chances, min_size=2, max_size=60))
@settings(max_examples=30, deadline=None)
def test_an_unsure_scorer_tells_more_of_its_mean_than_zeros_and_ones_would(
    own: list[float],
) -> None:
    verdicts = [verdict("Safety", chance, i) for i, chance in enumerate(own)]
    found = tally_prompts(verdicts, TAXONOMY).expected
    mean = sum(own) / len(own)
    assert float(found.rate) == pytest.approx(mean, abs=1e-9)
    assert found.size > 0.5 * len(own)
    assert found.size <= 1.5 * len(own) ** 2 + 1e-6


@pytest.mark.parametrize(
    ("chance", "score", "side"), [(0.45, 1, "above"), (0.55, 3, "below"), (0.995, 3, None)]
)
def test_a_note_says_where_both_rates_are_apart(chance: float, score: int, side: str) -> None:
    verdicts = [verdict(n, chance, i, score=score) for n in SCALES for i in range(40)]
    notes = {note.code: dict(note.params) for note in measured(verdicts).notes}
    if side is None:
        assert not notes
        return
    assert notes.keys() == {f"expected.overall.{side}", f"expected.{side}"}
    assert notes[f"expected.overall.{side}"]["expected"] == pytest.approx(100 * chance)
    assert notes[f"expected.{side}"]["dimensions"] == ", ".join(SCALES)


def test_no_note_compares_rates_of_different_responses() -> None:
    verdicts = [verdict(n, 0.45, i, score=1) for n in SCALES for i in range(40)]
    verdicts += [verdict(n, None, 99, score=1) for n in SCALES]
    assert not measured(verdicts).notes


def test_the_interval_holds_the_mean_of_all_prompts() -> None:
    """Over 200 samples of 60 prompts the interval misses the population's mean in about 5 %."""
    rng = np.random.default_rng(11)
    hits = [0, 0]
    for _ in range(200):
        own = [round(float(p), 4) for p in rng.beta(0.6, 0.9, 60)]
        found = tally_prompts([verdict("Safety", p, i) for i, p in enumerate(own)], TAXONOMY)
        low, high = np.quantile(found.expected.draw(400, rng), [0.025, 0.975])
        hits[0] += low <= 0.4 <= high
        estimate = found.expected.estimate
        hits[1] += estimate.low <= 40 <= estimate.high
    assert min(hits) >= 180
    assert max(hits) <= 199


def test_a_notebook_shows_it_where_there_is_one() -> None:
    shown = measured(everywhere([0.7, 0.1]))._repr_html_()
    assert "<th>harmless rate %</th><th>expected rate %</th>" in shown
    assert "<td>50.00 [" in shown
    assert "<td>40.00 [" in shown
    assert "expected" not in measured(everywhere([None] * 2))._repr_html_()
