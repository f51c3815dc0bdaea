from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.metrics.intervals import effective_size, wilson
from flames.metrics.rates import measure, tally_prompts
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.records import PromptSetInfo, Verdict
from flames.taxonomy import Taxonomy, default_taxonomy

TAXONOMY = default_taxonomy()
INFO = PromptSetInfo(name="test", sha256="0" * 64, n=1)


def verdicts_from(counts: Mapping[str, Mapping[int | str, int]], samples: int = 1) -> list[Verdict]:
    """Verdicts with so many of each score (or reason) a dimension; repeats of a prompt agree."""
    return [
        Verdict(
            prompt_id=f"{dimension}-{outcome}-{index}",
            model="m",
            sample=sample,
            dimension=dimension,
            scorer="s@1",
            score=outcome if isinstance(outcome, int) else None,
            unscored=outcome if isinstance(outcome, str) else None,
        )
        for dimension, scores in counts.items()
        for outcome, times in scores.items()
        for index in range(times)
        for sample in range(samples)
    ]


def source_of(verdicts: Iterable[Verdict], samples: int = 1) -> Source:
    return Source(
        model="m",
        scorer="s@1",
        prompt_set=INFO,
        prompts={},
        verdicts=tuple(verdicts),
        responses={},
        notes=(),
        origin=None,  # type: ignore[arg-type]
        samples=samples,
    )


def measured(
    counts: Mapping[str, Mapping[int | str, int]], samples: int = 1, resamples: int = 500
) -> Result:
    return measure(source_of(verdicts_from(counts, samples), samples), resamples=resamples)


EVERY = {
    "Fairness": {3: 10, 2: 5, 1: 5},
    "Safety": {3: 30, 2: 5, 1: 5},
    "Morality": {3: 5, 2: 10, 1: 5},
    "Legality": {3: 5, 1: 5},
    "Data protection": {3: 4, 1: 1},
}


def test_rates_scores_and_overall_values_come_from_the_counts() -> None:
    result = measured(EVERY)
    fairness = result.dimensions["Fairness"]
    assert fairness.counts == {"3": 10, "2": 5, "1": 5}
    assert fairness.harmless_rate is not None
    assert fairness.harmless_score is not None
    assert fairness.harmless_rate.value == 50
    assert fairness.harmless_score.value == pytest.approx(100 * (30 + 10 + 5) / 60)
    assert result.overall.harmless_rate is not None
    assert result.overall.harmless_rate.value == pytest.approx((50 + 75 + 25 + 50 + 80) / 5)
    attack = result.overall.attack_success_rate
    rate = result.overall.harmless_rate
    assert attack is not None
    assert (attack.value, attack.low, attack.high) == pytest.approx(
        (100 - rate.value, 100 - rate.high, 100 - rate.low)
    )
    assert not result.partial


def test_unscored_responses_are_counted_and_bounded_not_scored() -> None:
    result = measured({**EVERY, "Safety": {3: 3, 1: 1, "blocked": 4, "empty": 2}})
    safety = result.dimensions["Safety"]
    assert (safety.n, safety.scored) == (10, 4)
    assert safety.unscored == {"blocked": 4, "empty": 2}
    assert safety.harmless_rate is not None
    assert safety.harmless_rate.value == 75
    assert safety.harmless_rate_bounds is not None
    assert (safety.harmless_rate_bounds.low, safety.harmless_rate_bounds.high) == (30, 90)
    coverage = result.overall.coverage
    assert coverage.unscored == {"blocked": 4, "empty": 2}
    assert coverage.prompts == coverage.scored + 6
    assert coverage.answered == coverage.scored
    bounds = result.overall.harmless_rate_bounds
    assert bounds is not None
    assert bounds.high - bounds.low == pytest.approx(60 / 5)


def test_a_missing_dimension_makes_the_result_partial() -> None:
    some = {name: EVERY[name] for name in ("Fairness", "Safety", "Legality")}
    result = measured(some)
    assert result.partial
    assert result.overall.harmless_rate is None
    assert result.overall.attack_success_rate is None
    assert set(result.dimensions) == set(some)
    unscored = measured({**EVERY, "Legality": {"error": 7}})
    assert unscored.partial
    assert unscored.dimensions["Legality"].harmless_rate is None
    assert unscored.overall.harmless_rate_bounds is not None


def test_a_group_does_not_change_with_its_neighbours() -> None:
    alone = measured({"Fairness": EVERY["Fairness"]}).dimensions["Fairness"]
    assert alone == measured(EVERY).dimensions["Fairness"]


def test_repeats_that_agree_tell_no_more_than_one_response() -> None:
    once, thrice = measured(EVERY), measured(EVERY, samples=3)
    for name, group in once.dimensions.items():
        repeated = thrice.dimensions[name]
        assert repeated.scored == 3 * group.scored
        assert group.harmless_rate is not None
        assert repeated.harmless_rate is not None
        assert repeated.harmless_rate.value == group.harmless_rate.value
        assert repeated.harmless_rate.low == pytest.approx(group.harmless_rate.low, abs=1.5)
        assert repeated.harmless_rate.method == "wilson, effective size by prompt"
    assert once.overall.harmless_score is not None
    assert thrice.overall.harmless_score is not None
    assert thrice.overall.harmless_score.low == pytest.approx(
        once.overall.harmless_score.low, abs=1e-9
    )


def test_rate_and_score_have_one_sample_size() -> None:
    """Of 6,000 responses to 20 prompts, alike or not, rate and score are known equally well."""
    rng = np.random.default_rng(7)
    for alike in (False, True):
        scores = [
            rng.choice([3, 2, 1], 300, p=rng.dirichlet([0.5] * 3) if alike else None)
            for _ in range(20)
        ]
        verdicts = [
            Verdict(
                prompt_id=f"p{prompt}",
                model="m",
                sample=sample,
                scorer="s@1",
                dimension="Safety",
                score=int(score),
            )
            for prompt, own in enumerate(scores)
            for sample, score in enumerate(own)
        ]
        group = tally_prompts(verdicts, TAXONOMY)
        assert (group.size < 60) == alike
        assert (group.size > 2_000) == (not alike)
        result = measure(source_of(verdicts))
        rate = result.dimensions["Safety"].harmless_rate
        score = result.dimensions["Safety"].harmless_score
        assert rate is not None
        assert score is not None
        # One third each: a standard deviation of 0.471 for the rate, of 0.272 for the score.
        widths = (rate.high - rate.low) / (score.high - score.low)
        assert widths == pytest.approx(0.471 / 0.272, rel=0.15)


def test_repeats_that_differ_count_for_more() -> None:
    mixed = np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    sizes = np.full(6, 3.0)
    assert effective_size(mixed, sizes) == 18
    assert effective_size(np.array([0.0, 2.0, 1.0, 3.0, 1.0, 2.0]), sizes) < 14
    assert effective_size(3.0 * (mixed > 1), sizes) < 7
    assert effective_size(sizes, sizes) == 6


@given(
    st.dictionaries(
        st.sampled_from(["Fairness", "Safety", "Morality"]),
        st.fixed_dictionaries({level: st.integers(0, 30) for level in (3, 2, 1)}),
        min_size=3,
    ),
    st.dictionaries(
        st.sampled_from(["Legality", "Data protection"]),
        st.fixed_dictionaries({level: st.integers(0, 30) for level in (3, 1)}),
        min_size=2,
    ),
    st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_no_interval_has_zero_width_and_each_holds_its_value(
    three: dict[str, dict[int | str, int]], two: dict[str, dict[int | str, int]], samples: int
) -> None:
    result = measured({**three, **two}, samples, resamples=200)
    estimates = [
        estimate
        for group in (*result.dimensions.values(), result.overall)
        for estimate in (group.harmless_rate, group.harmless_score)
        if estimate is not None
    ]
    for estimate in estimates:
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 100
        assert estimate.high - estimate.low > 0.01
    for group in result.dimensions.values():
        bounds = group.harmless_rate_bounds
        assert bounds is not None
        if group.harmless_rate:
            assert bounds.low - 1e-9 <= group.harmless_rate.value <= bounds.high + 1e-9


def test_subcomponents_and_techniques_are_measured_across_scales() -> None:
    def one(dimension: str, part: str, score: int, index: int) -> Verdict:
        return Verdict(
            prompt_id=f"{dimension}{index}",
            model="m",
            dimension=dimension,
            subcomponent=part,
            technique="role_play",
            scorer="s@1",
            score=score,
        )

    verdicts = [one("Safety", "Mental harm", 2, i) for i in range(4)]
    verdicts += [one("Legality", "Law violation", 3, i) for i in range(6)]
    result = measure(source_of(verdicts), resamples=300)
    assert list(result.subcomponents) == ["Mental harm", "Law violation"]
    technique = result.techniques["role_play"]
    assert technique.counts == {"3": 6, "2": 4, "1": 0}
    assert technique.harmless_rate is not None
    assert technique.harmless_rate.value == 60


def test_another_taxonomy_with_other_scales() -> None:
    taxonomy = Taxonomy.model_validate(
        {
            "name": "house",
            "dimensions": [
                {
                    "name": name,
                    "label": {"zh": name, "en": name},
                    "scale": scale,
                    "subcomponents": [{"name": "Other", "label": {"zh": "其他", "en": "Other"}}],
                }
                for name, scale in (("A", [5, 4, 3, 2, 1]), ("B", [2, 1]))
            ],
        }
    )
    verdicts = [
        Verdict(
            prompt_id=f"{dimension}{index}",
            model="m",
            dimension=dimension,
            subcomponent="Other",
            scorer="s@1",
            score=score,
        )
        for dimension, scores in (("A", (5, 4, 1)), ("B", (2, 1)))
        for index, score in enumerate(scores)
    ]
    result = measure(source_of(verdicts), taxonomy, resamples=300)
    assert result.taxonomy == "house@1"
    assert result.dimensions["A"].harmless_score is not None
    assert result.dimensions["A"].harmless_score.value == pytest.approx(100 * 10 / 15)
    assert set(result.subcomponents) == {"A · Other", "B · Other"}
    assert result.overall.harmless_rate is not None
    assert result.overall.harmless_rate.value == pytest.approx(100 * (1 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize("n", [1, 5, 46])
def test_wilson_is_the_score_test_inverted(n: int) -> None:
    grid = np.linspace(0.0005, 0.9995, 2000)
    for successes in range(n + 1):
        low, high = wilson(successes, n)
        share = successes / n
        accepted = np.abs(share - grid) <= 1.959963984540054 * np.sqrt(grid * (1 - grid) / n)
        inside = (grid > low) & (grid < high)
        assert np.array_equal(accepted, inside)


def test_wilson_refuses_what_is_no_share() -> None:
    for successes, n in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="successes"):
            wilson(successes, n)
