from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from flames.analysis.evaluate import compare_scorers, evaluate, majority_labels, score_labelled
from flames.analysis.evaluation import Evaluation
from flames.analysis.figures import (
    kendall_tau,
    macro_f1,
    rank_models_by_label,
    scorer_metrics,
)
from flames.analysis.judgements import Judgement, Judgements
from flames.cli import main
from flames.errors import InputError
from flames.metrics.coefficients import cohen_kappa
from flames.metrics.columns import Coded
from flames.metrics.result import Note
from flames.records import Verdict, verdict_for
from flames.reports.evaluation import markdown
from flames.scorers.base import ScorerInfo
from flames.scorers.labelled import LabelledSet, read_labelled
from flames.taxonomy import default_taxonomy

TAXONOMY = default_taxonomy()
INFO = ScorerInfo("mine@1", "my own", TAXONOMY.id, notes=("be careful",))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def label(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "prompt": f"问题{number}", "response": f"回答{number}", "dimension": "Safety",
        "model": "m", "score": 3, **fields,
    }  # fmt: skip


def some(tmp_path: Path, n: int = 240, seed: int = 0) -> LabelledSet:
    """Labels of four models, from the harmless to the harmful one."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        dimension = TAXONOMY.dimensions[number % 5]
        for m, model in enumerate("abcd"):
            chance = np.array([4 - m, 1, m + 1])[: len(dimension.scale)].astype(float)
            score = int(rng.choice(dimension.scale, p=chance / chance.sum()))
            rows.append(label(number, dimension=dimension.name, model=model, score=score))
    return read_labelled([write(tmp_path / "some.jsonl", rows)])


def noisy(labelled: LabelledSet, right: float, seed: int = 1) -> list[Verdict]:
    """A scorer that is right that often, sure of itself just as much."""
    rng = np.random.default_rng(seed)
    found = []
    for row in labelled.rows:
        scale = TAXONOMY.dimension(row.dimension).scale
        others = [score for score in scale if score != row.score]
        score = row.score if rng.random() < right else int(rng.choice(others))
        rest = (1 - right) / len(others)
        chances = {str(each): right if each == score else rest for each in scale}
        found.append(
            verdict_for(
                row.response,
                scorer="mine@1",
                dimension=row.dimension,
                score=score,
                probabilities=chances,
            )
        )
    return found


def test_figures_are_those_of_the_textbooks(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labelled = some(tmp_path)
    verdicts = noisy(labelled, 0.7)
    found = evaluate(labelled, verdicts, INFO, TAXONOMY)
    truth = np.array([row.score for row in labelled.rows])
    said = np.array([verdict.score for verdict in verdicts])
    where = np.array([row.dimension for row in labelled.rows])
    for name, each in {"": found.overall, **found.dimensions}.items():
        rows = where == name if name else np.ones(len(where), bool)
        a, b = truth[rows], said[rows]
        assert each.n == each.scored == rows.sum()
        assert each.accuracy.value == pytest.approx(100 * (a == b).mean())
        wanted = 100 * metrics.f1_score(a, b, average="macro")
        assert each.macro_f1.value == pytest.approx(wanted)
        kappa = cohen_kappa(a, b, weights="quadratic", categories=each.categories)
        assert each.kappa_quadratic.value == pytest.approx(kappa)
        if name:
            matrix = metrics.confusion_matrix(a, b, labels=list(each.categories))
            assert each.confusion == tuple(map(tuple, matrix.tolist()))
            most = max((a == score).mean() for score in set(a.tolist()))
            assert each.majority.value == pytest.approx(100 * most)
            assert each.gain.value == pytest.approx(each.accuracy.value - each.majority.value)
        for estimate in (each.accuracy, each.macro_f1, each.kappa_quadratic, each.majority):
            assert estimate.low < estimate.value < estimate.high
    assert found.prompts == 240
    assert set(found.models) == set("abcd")


def test_calibration_is_the_gap_between_said_and_right(tmp_path: Path) -> None:
    labelled = some(tmp_path)
    honest = evaluate(labelled, noisy(labelled, 0.75), INFO, TAXONOMY).overall.calibration
    assert honest is not None
    [only] = honest.bins
    assert (only.n, only.confidence) == (960, pytest.approx(75))
    assert honest.ece.value == pytest.approx(abs(75 - only.accuracy))
    boastful = [
        v.model_copy(update={"probabilities": {str(v.score): 0.99}}) for v in noisy(labelled, 0.75)
    ]
    found = evaluate(labelled, boastful, INFO, TAXONOMY).overall.calibration
    assert found is not None
    assert found.ece.value == pytest.approx(99 - only.accuracy)
    silent = [v.model_copy(update={"probabilities": None}) for v in noisy(labelled, 0.75)]
    assert evaluate(labelled, silent, INFO, TAXONOMY).overall.calibration is None


def judgement(label: int, score: int, model: str = "m", dimension: str = "x") -> Judgement:
    return Judgement(
        model=model,
        dimension=dimension,
        best=3,
        label=label,
        score=score,
        unscored=None,
        majority=3,
    )


def each_on_its_prompt(rows: list[Judgement]) -> Judgements:
    codes: Coded[Judgement] = Coded()
    for row in rows:
        codes.append(row)
    ids, prompts = (
        [str(number) for number in range(len(rows))],
        np.arange(len(rows), dtype=np.int32),
    )
    return Judgements(ids, prompts, codes.values, np.array(codes.codes, dtype=np.int32))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(150):
        rows = [judgement(3, 3 if rng.random() < 0.8 else 1) for _ in range(60)]
        found = scorer_metrics(each_on_its_prompt(rows), (3, 1), str(trial), 0, 400).accuracy
        assert found is not None
        hits += found.low <= 80 <= found.high
    assert 0.89 <= hits / 150 <= 1


def test_unscored_responses_are_counted_and_in_no_figure(tmp_path: Path) -> None:
    labelled = some(tmp_path, 20)
    verdicts = noisy(labelled, 1.0)
    verdicts[0] = verdicts[0].model_copy(update={"score": None, "unscored": "timeout"})
    found = evaluate(labelled, verdicts[:-2], INFO, TAXONOMY)
    assert found.overall.unscored == {"timeout": 1, "no verdict": 2}
    assert (found.overall.n, found.overall.scored) == (80, 77)
    assert found.overall.accuracy is not None
    assert found.overall.accuracy.value == 100
    nothing = evaluate(labelled, [], INFO, TAXONOMY)
    assert nothing.overall.accuracy is None
    assert nothing.bias == ()
    assert nothing.rank_agreement is None


def test_a_mild_scorer_is_biased_and_still_ranks_the_models(tmp_path: Path) -> None:
    labelled = some(tmp_path)
    mild = [
        v.model_copy(update={"score": 3 if v.score == 2 else v.score}) for v in noisy(labelled, 1.0)
    ]
    found = evaluate(labelled, mild, INFO, TAXONOMY)
    assert [each.model for each in found.bias] == list("abcd")
    for each in found.bias:
        assert each.bias.value == pytest.approx(each.scorer - each.labels)
        assert each.bias.value > 0
        rates = [
            100 * np.mean([r.score == 3 for r in labelled.rows
                           if r.key.model == each.model and r.dimension == name])
            for name in TAXONOMY.names
        ]  # fmt: skip
        assert each.labels == pytest.approx(np.mean(rates))
    assert found.rank_agreement is not None
    assert found.rank_agreement.value == 1.0
    assert found.rank_agreement.low < 1.0
    assert found.ranked_by == TAXONOMY.names


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
def test_kendalls_tau_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    ours = kendall_tau(first[None], second[None])[0]
    wanted = np.nan if len({*first}) < 2 or len({*second}) < 2 else kendalltau(first, second)[0]
    np.testing.assert_allclose(ours, wanted, atol=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans(),
                          st.booleans()), max_size=30))  # fmt: skip
def test_ranking_takes_the_dimensions_that_all_models_have(rows: list[Any]) -> None:
    rated = [judgement(3 if a else 1, 3 if b else 1, m, d) for m, d, a, b in rows]
    found = rank_models_by_label(each_on_its_prompt(rated), ["x", "y"], 0, 20)
    for name in found.dimensions:
        assert {r.model for r in rated if r.dimension == name} == {r.model for r in rated}
    for each in found.bias:
        assert each.bias.low <= each.bias.value <= each.bias.high
        assert -100 <= each.bias.value <= 100


def test_macro_f1_counts_what_is_given_or_predicted() -> None:
    assert macro_f1(np.array([[[2.0, 0, 0], [0, 0, 0], [1, 0, 1]]]))[0] == pytest.approx(
        (2 * 2 / 5 + 2 * 1 / 3) / 2
    )


def test_difference_is_paired_and_joined_by_key(tmp_path: Path) -> None:
    labelled = some(tmp_path, 60)
    good, bad = noisy(labelled, 0.9), noisy(labelled, 0.6, seed=2)
    gap = compare_scorers(labelled, good, bad[::-1][:200])
    assert gap is not None
    assert gap.n == 200
    assert gap.accuracy.value > 15
    assert 0 < gap.accuracy.low < gap.accuracy.value < gap.accuracy.high
    assert compare_scorers(labelled, good, []) is None
    same = compare_scorers(labelled, good, good)
    assert same is not None
    assert same.accuracy.low < same.accuracy.value == 0 < same.accuracy.high


def test_on_labels_of_two_levels_a_2_is_harmless(tmp_path: Path) -> None:
    rows = [label(number, score=1 if number < 10 else 3) for number in range(40)]
    labelled = replace(read_labelled([write(tmp_path / "two.jsonl", rows)]), binary=True)

    def always(score: int) -> list[Verdict]:
        chances = {str(each): 0.8 if each == score else 0.1 for each in (3, 2, 1)}
        return [
            verdict_for(row.response, scorer="mine@1", score=score, probabilities=chances)
            for row in labelled.rows
        ]

    found = evaluate(labelled, always(2), INFO, resamples=100).overall.harmless
    assert found is not None
    assert found.accuracy is not None
    assert found.scorer is not None
    assert (found.accuracy.value, found.scorer.value) == (75, 100)
    gap = compare_scorers(labelled, always(2), always(3))
    assert gap is not None
    assert gap.accuracy.value == 0
    worse = compare_scorers(labelled, always(2), always(1))
    assert worse is not None
    assert worse.accuracy.value == 50


def test_annotators_are_the_yardstick(tmp_path: Path) -> None:
    rows = []
    for number in range(40):
        for who in ("ann", "bob", "eve"):
            score = 1 if who == "eve" and number < 10 else 3
            rows.append(label(number, annotator=who, score=score))
    labelled = read_labelled([write(tmp_path / "a.jsonl", rows[:60]),
                              write(tmp_path / "b.jsonl", rows[60:])])  # fmt: skip
    assert len(labelled.rows) == 40
    assert all(row.score == 3 and len(row.votes) == 3 for row in labelled.rows)
    verdicts = [
        verdict_for(r.response, scorer="s@1", dimension="Safety", score=3) for r in labelled.rows
    ]
    found = evaluate(labelled, verdicts, INFO, TAXONOMY).overall.annotators
    assert found is not None
    assert found.n == 40
    assert found.agreement.value == pytest.approx(100 * (30 + 10 / 3) / 40)
    assert found.scorer is not None
    assert found.scorer.value == pytest.approx(100 * (30 + 10 * 2 / 3) / 40)


def test_labels_without_majority_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [label(0, annotator="a", score=3), label(0, annotator="b", score=1), label(1)]
    labelled = read_labelled([write(tmp_path / "l.jsonl", rows)])
    assert [row.score for row in labelled.rows] == [None, 3]
    found = evaluate(labelled, [], INFO, TAXONOMY)
    assert found.excluded == {"annotators without a majority": 1}
    with pytest.raises(InputError, match="more than half"):
        evaluate(labelled.of(labelled.rows[:1]), [], INFO, TAXONOMY)
    assert majority_labels(labelled.rows) == {"Safety": 3}


def test_agreement_counts_the_labels_without_a_majority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for number in range(100):
        both = (3, 1) if number < 7 else (3, 3)
        rows += [
            label(number, annotator=who, score=score)
            for who, score in zip(("ann", "bob"), both, strict=True)
        ]
    rows.append(label(200, score=None, unscored="tie", votes={"ann": 3, "bob": 1}))
    rows.append(label(201, annotator="ann"))
    labels = write(tmp_path / "l.jsonl", rows)
    assert run("scorer", "eval", "lexical", "--labels", labels, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["overall"]["n"] == 94
    assert found["excluded"] == {"annotators without a majority": 8}
    for group in (found["overall"], found["dimensions"]["Safety"], found["models"]["m"]):
        people = group["annotators"]
        assert (people["n"], people["differing"], people["scored"]) == (101, 8, 101)
        assert people["agreement"]["value"] == pytest.approx(100 * 93 / 101)
    assert run("scorer", "eval", "lexical", "--labels", labels) == 0
    assert "over all 101 responses with two or more labels" in capsys.readouterr().out


def test_agreement_needs_no_scorer(tmp_path: Path) -> None:
    rows = [label(0, annotator="a", score=3), label(0, annotator="b", score=1), label(1)]
    labelled = read_labelled([write(tmp_path / "l.jsonl", rows)])
    people = evaluate(labelled, [], INFO, TAXONOMY).overall.annotators
    assert people is not None
    assert (people.n, people.agreement.value, people.scored, people.scorer) == (1, 0, 0, None)


def test_thinking_before_a_labelled_response_is_no_part_of_it(tmp_path: Path) -> None:
    rows = [
        label(0, response="<think>想一想</think>\n\n好的。"),
        label(1, response="<think>想一想"),
    ]
    labelled = read_labelled([write(tmp_path / "l.jsonl", rows)], skip_incomplete=True)
    assert [row.response.response for row in labelled.rows] == ["好的。"]
    assert labelled.excluded == {"no response text": 1}


def test_votes_of_a_row_are_its_annotators(tmp_path: Path) -> None:
    rows = [label(0, votes={"author": 1, "rater": 3}), label(1, votes=2), label(2, votes={"a": 3})]
    labelled = read_labelled([write(tmp_path / "l.jsonl", rows)])
    assert [row.score for row in labelled.rows] == [3, 3, 3]
    assert [sorted(row.votes.values()) for row in labelled.rows] == [[1, 3], [3], [3]]
    rows = [label(0, dimension="Legality", votes={"author": 2, "rater": 3})]
    with pytest.raises(InputError, match="'author' gave 2, which must be 3 or 1 in Legality"):
        read_labelled([write(tmp_path / "l.jsonl", rows)])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([label(response="")], r"no usable labels: 1 × unscored: empty"),
        ([label(score=None)], r"no usable labels: 1 × unscored: no score"),
        ([label(score=5)], "must be 3 or 2 or 1 in Safety, got 5"),
        ([{**label(), "prompt": None, "prompt_id": "x"}], "the prompt 'x' of 'm' has no text"),
        ([{**label(), "prompt": None, "prompt_id": "x", "prompt_set": "flames-1k"}],
         "flames prompts fetch flames-1k"),
        ([{**label(), "response": None}], "has no response text"),
        ([label(annotator="a"), label(annotator="b", sample=0, response="又答")],
         "on the same prompt, model and sample"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_used_are_one_clear_line(
    tmp_path: Path, rows: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_labelled([write(tmp_path / "l.jsonl", rows)])
    assert "\n" not in str(caught.value)


def test_incomplete_labels_are_left_out_where_asked(tmp_path: Path) -> None:
    rows = [label(), {**label(1), "response": None}, {**label(2), "prompt": None, "prompt_id": "x"}]
    labelled = read_labelled([write(tmp_path / "l.jsonl", rows)], skip_incomplete=True)
    assert len(labelled.rows) == 1
    assert labelled.excluded == {"no response text": 1, "no prompt text": 1}


def test_the_silver_set_is_known_to_be_synthetic() -> None:
    labelled = read_labelled(["labels:silver"], prompt_needed=False)
    assert labelled.synthetic
    assert any("synthetic" in str(note) for note in labelled.notes)
    assert len(labelled.rows) == 2542


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(done.value.code or 0)


def test_the_command_compares_scorers_on_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silver = read_labelled(["labels:silver"], prompt_needed=False).rows[::12]
    rows = [{**row.response.to_dict(), "score": row.score} for row in silver]
    few = write(tmp_path / "few.jsonl", rows)
    command = ("scorer", "eval", "labels:silver", "lexical", "--labels", few)
    assert run(*command, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["results"]
    assert Evaluation.model_validate(first).overall.accuracy.value == 100
    assert second["difference"]["other"] == first["scorer"]
    assert second["difference"]["accuracy"]["value"] <= 0  # it has learnt these
    assert second["per_second"] > 0
    assert run(*command) == 0
    told = capsys.readouterr().out
    assert "lexical@2" in told
    assert max(map(len, told.splitlines())) <= 80
    for form, start in (("md", "# Comparison of scorers"), ("html", "<!doctype html>")):
        out = tmp_path / f"eval.{form}"
        assert run(*command, "--format", form, "--out", out) == 0
        assert out.read_text("utf-8").startswith(start)
    assert run(*command, "--format", "pdf") == 2
    assert run("scorer", "eval", "lexical", "--labels", tmp_path / "none.jsonl") == 2
    assert "no such file" in capsys.readouterr().err


HOSTILE = "<img src=x onerror=alert(1)>[bold]\x1b[31m|`${{7*7}}\u202e"


@pytest.mark.chromium
def test_the_page_shows_pictures_and_runs_nobodys_code(
    tmp_path: Path, page: Any, request: pytest.FixtureRequest
) -> None:
    from flames.reports.evaluation import page as rendered

    labelled = some(tmp_path, 60)
    names = [label(n, model=HOSTILE, dimension=name) for n, name in enumerate(TAXONOMY.names)]
    rows = read_labelled([write(tmp_path / "h.jsonl", names)]).rows
    whole = labelled.of((*labelled.rows, *rows))
    notes = (Note.text(HOSTILE), Note("silver"))
    info = ScorerInfo(HOSTILE, HOSTILE, TAXONOMY.id, notes=notes)
    found = evaluate(whole, noisy(whole, 0.8), info, TAXONOMY, seconds=2.0)
    file = tmp_path / "page.html"
    file.write_text(rendered([found, found], TAXONOMY, "en"), "utf-8")
    page.goto(file.as_uri())
    assert page.locator("svg.reliability").count() == 12
    assert page.locator("table.confusion").count() == 10
    assert page.locator("svg.bias").count() == 10
    assert page.locator("img").count() == 0
    assert page.get_by_text("Kendall").count() == 0
    page.locator('button[data-set-lang="zh"]').click()
    assert page.get_by_text("各模型无害率的偏差").first.is_visible()
    assert page.get_by_text("silver 标签是合成的").first.is_visible()
    assert page.locator("table:not(:has(caption))").count() == 0
    for each in page.locator("figcaption .num").all_inner_texts():
        assert re.fullmatch(r"ECE \d+\.\d \[\d+\.\d, \d+\.\d\]", each)
    for lang, width in itertools.product(("zh", "en"), (1280, 1100, 820, 390)):
        page.locator(f'button[data-set-lang="{lang}"]').click()
        page.set_viewport_size({"width": width, "height": 800})
        beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert beyond <= 0, (lang, width)


def test_markdown_keeps_hostile_names_in_their_cells(tmp_path: Path) -> None:
    labelled = replace(some(tmp_path, 10), notes=())  # whose first word is bold
    info = ScorerInfo(HOSTILE, "t", TAXONOMY.id)
    found = evaluate(labelled, noisy(labelled, 0.8), info, TAXONOMY)
    text = markdown([found], TAXONOMY, "zh")
    assert re.search(r"(?<!\\)[<`$*]|(?<!\\)\[bold", text) is None
    assert "\x1b" not in text
    widths = {
        line.replace("\\|", "").count("|") for line in text.splitlines()[2:5] if line[:1] == "|"
    }
    assert len(widths) == 1


def test_judging_gives_a_verdict_a_response_and_tells_how_far_it_is() -> None:
    from flames.scorers.registry import load_scorer

    labelled = read_labelled(["labels:silver"], prompt_needed=False)
    told: list[int] = []
    scorer = load_scorer("lexical")
    verdicts, seconds = score_labelled(
        scorer, labelled.of(labelled.rows[:30]), progress=told.append
    )
    assert [v.key for v in verdicts] == [row.key for row in labelled.rows[:30]]
    assert told == list(range(1, 31))
    assert seconds > 0


def test_a_verdict_on_another_text_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    labelled = read_labelled(
        [write(tmp_path / "l.jsonl", [label(n, prompt_id=f"p{n}") for n in range(4)])]
    )
    texts = [
        {"prompt": "问题0", "response": " 回答0\r\n"},
        {"prompt": "别的问题", "response": "回答1"},
        {"prompt": "问题2", "response": "别的回答"},
        {},
    ]
    verdicts = [
        verdict_for(row.response, scorer="s@1", dimension="Safety", score=3).model_copy(update=text)
        for row, text in zip(labelled.rows, texts, strict=True)
    ]
    found = evaluate(labelled, verdicts, INFO, TAXONOMY)
    assert (found.overall.n, found.overall.scored) == (4, 2)
    assert found.overall.unscored == {"verdict on another text": 2}
    assert "verdict on another text 2" in markdown([found], TAXONOMY, "en")
    gap = compare_scorers(labelled, verdicts, verdicts)
    assert gap is not None
    assert gap.n == 2


def test_labels_of_two_files_on_two_prompts_are_not_put_together(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{who}.jsonl", [label(prompt_id="p", prompt=text, annotator=who)])
        for who, text in (("ann", "问题"), ("bob", "另一个问题"))
    ]
    with pytest.raises(InputError, match="but on different texts"):
        read_labelled(files)
