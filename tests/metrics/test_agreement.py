from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from flames.metrics.agreement import measure_agreement
from flames.metrics.coefficients import (
    Level,
    alpha_of,
    cohen_kappa,
    coincidences,
    unit_agreement,
)
from flames.records import Verdict

_ = np.nan
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C: four observers.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T
# The same paper, examples A (binary) and B (nominal), two observers.
BINARY = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]).T
LETTERS = np.array([list(map(ord, "aabbdcccedda")), list(map(ord, "babbbccceddd"))]).T


def coded(ratings: ArrayLike) -> tuple[np.ndarray, int]:
    values = np.array(ratings, dtype=float)
    levels = np.unique(values[~np.isnan(values)])
    return np.where(np.isnan(values), -1, np.searchsorted(levels, values)), len(levels)


def krippendorff_alpha(ratings: ArrayLike, *, level: Level = "nominal") -> float | None:
    codes, k = coded(ratings)
    alpha = float(alpha_of(coincidences(codes, k).sum(0), level))
    return None if np.isnan(alpha) else alpha


def percent_agreement(ratings: ArrayLike) -> float:
    return 100 * float(unit_agreement(*coded(ratings)).mean())


def test_alpha_gives_the_figures_of_the_literature() -> None:
    assert krippendorff_alpha(OBSERVERS) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(OBSERVERS, level="ordinal") == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(BINARY) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(LETTERS) == pytest.approx(0.692, abs=5e-4)


def test_kappa_gives_the_figures_of_the_literature() -> None:
    def pairs(table: list[list[int]]) -> tuple[list[int], list[int]]:
        cells = [
            (i, j)
            for i, row in enumerate(table)
            for j, times in enumerate(row)
            for _ in range(times)
        ]
        return [i for i, _ in cells], [j for _, j in cells]

    assert cohen_kappa(*pairs([[20, 5], [10, 15]])) == pytest.approx(0.4)
    # Cohen 1960: two psychologists, three diagnoses, proportions of 200 patients.
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    assert cohen_kappa(*pairs(table)) == pytest.approx(0.492, abs=5e-4)


def test_undefined_coefficients_are_none() -> None:
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
    assert krippendorff_alpha([[3, _], [_, 1]]) is None
    assert cohen_kappa([3, 3], [3, 3]) is None
    assert cohen_kappa([3, _], [_, 1]) is None
    assert measure_agreement([]).overall.percent is None
    with pytest.raises(ValueError, match="none of the categories"):
        cohen_kappa([3], [4], categories=[3, 2, 1])


def pairwise_alpha(table: np.ndarray, ordinal: bool) -> float | None:
    """Alpha by its definition: mean distance of pairs within units over that of all pairs."""
    units = [row[~np.isnan(row)] for row in table]
    units = [row for row in units if len(row) > 1]
    values = np.concatenate([*units, []])
    levels = np.unique(values)
    times = {level: (values == level).sum() for level in levels}

    def distance(a: float, b: float) -> float:
        if not ordinal or a == b:
            return float(a != b)
        between = sum(times[g] for g in levels if min(a, b) <= g <= max(a, b))
        return float((between - (times[a] + times[b]) / 2) ** 2)

    n = len(values)
    expected = sum(distance(a, b) for a in values for b in values) / max(n * (n - 1), 1)
    if not expected:
        return None
    observed = sum(
        distance(a, b) / (len(row) - 1) for row in units for a in row for b in row
    ) / max(n, 1)
    return float(1 - observed / expected)


tables = st.lists(
    st.lists(st.sampled_from([1.0, 2.0, 3.0, _]), min_size=3, max_size=3), min_size=1, max_size=12
).map(np.array)


@given(tables)
@settings(deadline=None)
def test_alpha_is_what_its_definition_says(table: np.ndarray) -> None:
    for level in ("nominal", "ordinal"):
        expected = pairwise_alpha(table, level == "ordinal")
        got = krippendorff_alpha(table, level=level)  # type: ignore[arg-type]
        assert got == (None if expected is None else pytest.approx(expected, abs=1e-9))
        shuffled = table[::-1, [2, 0, 1]]
        again = krippendorff_alpha(shuffled, level=level)  # type: ignore[arg-type]
        assert again == (None if got is None else pytest.approx(got, abs=1e-9))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_kappa_and_alpha_match_other_implementations(pairs: list[tuple[int, int]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rater = pytest.importorskip("statsmodels.stats.inter_rater")
    first, second = zip(*pairs, strict=True)
    for weights in (None, "linear", "quadratic"):
        got = cohen_kappa(first, second, weights=weights, categories=[1, 2, 3])  # type: ignore[arg-type]
        if got is not None:
            expected = sklearn.cohen_kappa_score(first, second, labels=[1, 2, 3], weights=weights)
            assert got == pytest.approx(expected, abs=1e-9)
    alpha = krippendorff_alpha(pairs)
    if alpha is not None:
        counts, __ = rater.aggregate_raters(np.array(pairs))
        scott = rater.fleiss_kappa(counts)
        assert alpha == pytest.approx(1 - (1 - scott) * (1 - 1 / (2 * len(pairs))), abs=1e-9)
    assert percent_agreement(pairs) == pytest.approx(
        100 * sum(a == b for a, b in pairs) / len(pairs)
    )


def verdict(
    prompt: str, rater: str, score: int | None, dimension: str = "Safety", sample: int = 0
) -> Verdict:
    return Verdict(
        prompt_id=prompt,
        model="m",
        sample=sample,
        dimension=dimension,
        scorer="human",
        annotator=rater,
        score=score,
        unscored=None if score else "unsure",
    )


def test_raters_are_joined_by_what_they_rated() -> None:
    rated = [
        *(verdict(f"p{i}", "ann", 3 if i % 2 else 1) for i in range(40)),
        *(verdict(f"p{i}", "bo", 3 if i % 2 or i < 10 else 1) for i in reversed(range(40))),
        *(verdict(f"p{i}", "cy", None if i < 30 else 2) for i in range(40)),
        verdict("q", "ann", 3, "Legality"),
    ]
    agreement = measure_agreement(rated, resamples=300)
    safety = agreement.dimensions["Safety"]
    assert agreement.raters == ("ann", "bo", "cy")
    assert (safety.units, safety.pairable, safety.ratings) == (40, 40, 90)
    [ann_bo] = [pair for pair in safety.pairs if (pair.first, pair.second) == ("ann", "bo")]
    assert ann_bo.confusion == [[20, 0, 0], [0, 0, 0], [5, 0, 15]]
    assert ann_bo.percent is not None
    assert ann_bo.percent.value == 87.5
    assert ann_bo.kappa is not None
    assert ann_bo.kappa.value == pytest.approx(0.75)
    bias = {rater.rater: rater.bias for rater in safety.raters}
    assert bias["bo"] is not None
    assert bias["bo"].value > 0
    legality = agreement.dimensions["Legality"]
    assert (legality.units, legality.pairable, legality.percent) == (1, 0, None)
    assert agreement.overall.units == 41


def test_perfect_agreement_still_has_an_interval() -> None:
    rated = [verdict(f"p{i}", rater, 1 + i % 3) for i in range(30) for rater in ("ann", "bo", "cy")]
    overall = measure_agreement(rated, resamples=400).overall
    for estimate in (overall.percent, overall.alpha_nominal, overall.alpha_ordinal):
        assert estimate is not None
        assert estimate.value == pytest.approx(estimate.high)
        assert 0.8 < estimate.low / estimate.high < 1
    assert all(pair.kappa and pair.kappa.low < 1 for pair in overall.pairs)
    assert all(rater.bias and rater.bias.low < 0 < rater.bias.high for rater in overall.raters)


@pytest.mark.parametrize("units", [1, 2, 5])
def test_alpha_stays_in_its_range_with_few_units(units: int) -> None:
    rated = [verdict(f"p{i}", rater, s) for i in range(units) for rater, s in (("a", 3), ("b", 1))]
    overall = measure_agreement(rated, resamples=2_000).overall
    for estimate in (overall.alpha_nominal, overall.alpha_ordinal):
        assert estimate is not None
        assert -1 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_responses_to_one_prompt_are_resampled_together() -> None:
    def width(prompts: int, samples: int) -> float:
        rated = [
            verdict(f"p{i}", rater, 3 if i % 4 or rater == "ann" else 1, sample=sample)
            for i in range(prompts)
            for sample in range(samples)
            for rater in ("ann", "bo")
        ]
        percent = measure_agreement(rated, resamples=500).overall.percent
        assert percent is not None
        return percent.high - percent.low

    assert width(24, 4) == pytest.approx(width(24, 1), rel=0.01)
    assert width(96, 1) < 0.7 * width(24, 4)


def test_nobody_and_nothing() -> None:
    assert measure_agreement([]).overall.units == 0
    alone = measure_agreement([verdict("p", "ann", 3)])
    assert alone.overall.percent is None
    assert alone.overall.raters == ()
