from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flames.errors import InputError
from flames.metrics.correction import ENOUGH, correct
from flames.metrics.powered import powered_mean
from flames.metrics.source import Source
from flames.records import Prompt, PromptSetInfo, Response, Verdict
from flames.taxonomy import default_taxonomy

# (N, labelled, rate, accuracy, estimate, low, high): ppi-python 0.2.3 on the data of `drawn`.
REFERENCE = [
    (46, 20, 0.4, 0.8, 0.2922814685314685, 0.12773748646455982, 0.4568254505983772),
    (249, 60, 0.25, 0.9, 0.2117347681595189, 0.13361109396147092, 0.28985844235756686),
    (429, 100, 0.6, 0.7, 0.6262073817594834, 0.5359527138266256, 0.7164620496923413),
    (1000, 50, 0.85, 0.95, 0.8725351418002465, 0.8207815630349584, 0.9242887205655346),
    (76, 75, 0.5, 0.8, 0.4712156862745098, 0.3588765514704877, 0.583554821078532),
]


def drawn(seed: int, n: int, rate: float, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    human = (rng.random(n) < rate).astype(float)
    return human, np.where(rng.random(n) > accuracy, 1 - human, human)


@pytest.mark.parametrize("case", range(len(REFERENCE)))
def test_estimates_are_those_of_the_reference_package(case: int) -> None:
    n, labelled, rate, accuracy, value, low, high = REFERENCE[case]
    human, scorer = drawn(case, n, rate, accuracy)
    fit = powered_mean(human[:labelled], scorer[:labelled], scorer, np.ones(labelled))
    assert fit.value == pytest.approx(value, abs=1e-12)
    assert fit.variance() ** 0.5 == pytest.approx((high - low) / 2 / 1.959964, rel=0.06)


def test_a_useless_scorer_leaves_the_labels_alone() -> None:
    human = np.array([1.0, 0.0, 1.0, 1.0])
    fit = powered_mean(human, np.ones(4), np.ones(50), np.ones(4))
    assert (fit.value, fit.tuning) == (0.75, 0)


def test_weights_undo_an_uneven_choice() -> None:
    rng = np.random.default_rng(3)
    values = []
    for _ in range(300):
        human, scorer = drawn(int(rng.integers(1 << 31)), 400, 0.4, 0.85)
        chosen = np.where(scorer == 1, 0.1, 0.4)
        labelled = rng.random(400) < chosen
        fit = powered_mean(human[labelled], scorer[labelled], scorer, 1 / chosen[labelled])
        values.append(fit.value)
    assert np.mean(values) == pytest.approx(0.4, abs=0.01)


SIZES = {"Fairness": 60, "Safety": 80, "Morality": 60, "Legality": 40, "Data protection": 40}


def verdict(dimension: str, index: int, score: int | None, **extra: Any) -> Verdict:
    return Verdict(
        prompt_id=f"{dimension}-{index}",
        model="m",
        dimension=dimension,
        scorer=extra.pop("scorer", "s@1"),
        score=score,
        unscored=None if score else "no score",
        **extra,
    )


def judged(seed: int = 0, wrong: float = 0.2) -> tuple[Source, list[Verdict]]:
    """A scorer's verdicts on everything, and people's on everything, from which tests choose."""
    rng = np.random.default_rng(seed)
    verdicts, people = [], []
    for dimension, n in SIZES.items():
        scale = default_taxonomy().dimension(dimension).scale
        for index in range(n):
            truth = int(rng.choice(scale))
            said = int(rng.choice(scale)) if rng.random() < wrong else truth
            verdicts.append(verdict(dimension, index, said))
            people.append(verdict(dimension, index, truth, scorer="human", annotator="ann"))
    source = Source(
        model="m",
        scorer="s@1",
        prompt_set=PromptSetInfo(name="t", sha256="0", n=len(verdicts)),
        prompts={},
        verdicts=tuple(verdicts),
        responses={},
        notes=(),
        origin=None,  # type: ignore[arg-type]
    )
    return source, people


def some(people: list[Verdict], share: float, seed: int = 1) -> list[Verdict]:
    rng = np.random.default_rng(seed)
    return [label for label in people if rng.random() < share]


def test_three_columns_side_by_side() -> None:
    source, people = judged()
    labels = some(people, 0.4)
    result = correct(source, labels, random_sample=True, resamples=500)
    assert result.labels.used == len(labels)
    assert result.labels.raters == ("ann",)
    assert sum(group.labelled for group in result.dimensions.values()) == len(labels)
    for group in (*result.dimensions.values(), result):
        for column in (group.harmless_rate, group.harmless_score):
            assert column.scorer is not None
            assert column.human is not None
            assert column.corrected is not None
            assert column.corrected.low < column.corrected.value < column.corrected.high
            assert column.tuning is not None
            assert 0 < column.tuning < 1.3
    rate = result.harmless_rate
    assert rate.corrected is not None
    assert rate.human is not None
    values = [group.harmless_rate.corrected for group in result.dimensions.values()]
    assert rate.corrected.value == pytest.approx(np.mean([v.value for v in values if v]))
    assert rate.corrected.high - rate.corrected.low < rate.human.high - rate.human.low


def test_labels_on_everything_are_the_answer() -> None:
    source, people = judged()
    result = correct(source, people, random_sample=True, resamples=300)
    assert result.harmless_rate.corrected is not None
    assert result.harmless_rate.human is not None
    assert result.harmless_rate.corrected.value == pytest.approx(result.harmless_rate.human.value)


@pytest.mark.parametrize("few", [0, 3, ENOUGH - 1])
def test_a_dimension_with_few_labels_is_not_corrected_and_not_in_the_overall(few: int) -> None:
    source, people = judged()
    legal = [label for label in people if label.dimension == "Legality"]
    labels = [label for label in people if label.dimension != "Legality"][::2] + legal[:few]
    result = correct(source, labels, random_sample=True, resamples=200)
    group = result.dimensions["Legality"]
    assert (group.labelled, group.labels_needed) == (few, ENOUGH - few)
    assert group.harmless_rate.scorer is not None
    assert group.harmless_rate.corrected is None
    assert (group.harmless_rate.human is None) == (few == 0)
    measured = [name for name in SIZES if name != "Legality"]
    assert result.measured == tuple(measured)
    for what in ("scorer", "human", "corrected"):
        values = [getattr(result.dimensions[name].harmless_rate, what).value for name in measured]
        overall = getattr(result.harmless_rate, what)
        assert overall.value == pytest.approx(np.mean(values))
        assert overall.low < overall.value < overall.high
    codes = [note.code for note in result.notes]
    assert codes[:2] == ["few_labels", "overall_of_measured"]
    assert f"too few labels for a corrected value ({few})" in str(result.notes[0])
    assert f"takes {ENOUGH - few} more" in str(result.notes[0])


def test_enough_labels_in_one_dimension_are_not_enough_overall() -> None:
    source, people = judged()
    labels = [label for label in people if label.dimension == "Legality"][:3]
    result = correct(source, labels, random_sample=True, target_width=5, resamples=200)
    assert result.measured == ()
    assert result.harmless_rate.corrected is None
    assert result.harmless_rate.human is None
    assert result.harmless_rate.scorer is not None
    assert [note.code for note in result.notes] == ["few_labels"] * 5


def test_labels_that_count_for_less_are_fewer() -> None:
    source, _ = judged()
    chances = [0.05] + [0.9] * (ENOUGH + 1)
    labels = [
        verdict("Safety", index, 3, inclusion_probability=chance)
        for index, chance in enumerate(chances)
    ]
    group = correct(source, labels, resamples=100).dimensions["Safety"]
    assert group.harmless_rate.corrected is None
    assert group.labels_needed > 5


def test_everything_labelled_is_enough() -> None:
    source, people = judged()
    verdicts = [v for v in source.verdicts if int(v.prompt_id.split("-")[-1]) < 4]
    small = Source(**{**vars(source), "verdicts": tuple(verdicts)})
    result = correct(small, people, random_sample=True, resamples=100)
    assert all(group.labels_needed == 0 for group in result.dimensions.values())
    assert result.harmless_rate.corrected is not None


@pytest.mark.parametrize(("seed", "outside"), [(4, True), (0, False)])
def test_a_value_outside_scorer_and_people_says_why(seed: int, outside: bool) -> None:
    source, people = judged(seed)
    mild = {v.prompt_id for v in source.verdicts if v.score == 3}
    chosen = [label for label in people if label.prompt_id in mild][::2]
    rest = [label for label in people if label.prompt_id not in mild][::6]
    result = correct(source, chosen + rest, random_sample=True, resamples=200)
    rate = result.harmless_rate
    assert rate.scorer is not None
    assert rate.human is not None
    assert rate.corrected is not None
    assert rate.scorer_on_labelled is not None
    assert rate.scorer_on_labelled > rate.scorer.value
    ends = sorted((rate.scorer.value, rate.human.value))
    assert outside == (not ends[0] <= rate.corrected.value <= ends[1])
    notes = [str(note) for note in result.notes if note.code == "outside_both_rate"]
    assert len(notes) == outside
    assert all(f"gives them {rate.scorer_on_labelled:.1f}" in note for note in notes)


def test_how_many_more_labels_a_wanted_width_takes() -> None:
    source, people = judged()
    labels = some(people, 0.3)

    def more(width: float) -> Any:
        return correct(
            source, labels, random_sample=True, target_width=width, resamples=500
        ).harmless_rate

    assert more(50).more_labels == 0
    few, many = more(15.5).more_labels, more(14.5).more_labels
    assert 0 < few < many <= len(people) - len(labels)
    hopeless = more(1)
    assert (hopeless.more_labels, hopeless.reachable) == (None, False)
    enough = correct(
        source, some(people, 0.3 + few / len(people)), random_sample=True, resamples=500
    ).harmless_rate.corrected
    assert enough is not None
    assert enough.high - enough.low == pytest.approx(15.5, abs=1.5)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, "is missing on the label of prompt 'Safety-0'; give it on every label"),
        ({"inclusion_probability": 0}, "above 0 and at most 1, got 0"),
        ({"inclusion_probability": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"inclusion_probability": "often"}, "above 0 and at most 1, got 'often'"),
        ({"inclusion_probability": True}, "above 0 and at most 1, got True"),
    ],
)
def test_every_label_says_how_probable_it_was(extra: dict[str, Any], message: str) -> None:
    source, _ = judged()
    with pytest.raises(InputError, match=message):
        correct(source, [verdict("Safety", 0, 3, **extra)])


def test_labels_that_cannot_be_used_are_counted() -> None:
    source, _ = judged()
    unjudged = source.verdicts[0].model_copy(update={"score": None, "unscored": "unsure"})
    source = Source(**{**vars(source), "verdicts": (unjudged, *source.verdicts[1:])})
    labels = [
        verdict("Fairness", 0, 3),
        verdict("Fairness", 1, 3),
        verdict("Fairness", 1, 1, annotator="bo"),
        verdict("Fairness", 2, None),
        verdict("Fairness", 999, 3),
        verdict("Fairness", 3, 3, response="Another answer."),
    ]
    response = Response(prompt_id=labels[-1].prompt_id, model=labels[-1].model, response="Its own.")
    source = replace(source, responses={response.key: response})
    use = correct(source, labels, random_sample=True, resamples=50).labels
    found = use.used, use.unjudged, use.unscored, use.other, use.changed
    assert found == (1, 1, 1, 1, 1)
    assert use.raters == ("s@1", "bo")


def test_labels_on_another_text_are_no_labels_on_this_response() -> None:
    source, _ = judged()
    first, second = source.verdicts[0], source.verdicts[1]
    prompts = {
        each.prompt_id: Prompt(id=each.prompt_id, dimension=each.dimension, text="问")
        for each in (first, second)
    }
    responses = {first.key: Response(prompt_id="x", model="m", response="答")}
    source = Source(**{**vars(source), "prompts": prompts, "responses": responses})

    def used(index: int, **texts: Any) -> int:
        label = verdict("Fairness", index, 3, **texts)
        use = correct(source, [label], random_sample=True, resamples=50).labels
        assert use.used + use.changed == 1
        return use.used

    assert used(0, prompt=" 问\n", response="<think>想</think>答")
    assert used(1, prompt="", response="无从比较")
    assert used(2, prompt="这里没有题面")
    assert not used(1, prompt="改过的问")
    assert not used(0, prompt="问", response="另一条")


def test_labels_that_contradict_the_run_are_refused() -> None:
    source, _ = judged()
    moved = verdict("Fairness", 0, 3).model_copy(update={"dimension": "Safety"})
    with pytest.raises(InputError, match="is of Safety, its verdict of Fairness"):
        correct(source, [moved], random_sample=True)
    twice = [
        verdict("Safety", 0, 3, inclusion_probability=chance, annotator=name)
        for name, chance in (("ann", 0.5), ("bo", 0.25))
    ]
    with pytest.raises(InputError, match="differs between two labels of prompt 'Safety-0'"):
        correct(source, twice)
