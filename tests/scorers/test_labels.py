from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.loading import load_labels
from flames.cli._app import run as flames
from flames.errors import InputError, UsageError
from flames.prompts.sets import load_prompts
from flames.records import Prompt, Response
from flames.scorers.base import ScorerContext
from flames.scorers.labelled import read_labelled
from flames.scorers.labels import labels_path
from flames.scorers.registry import load_scorer
from flames.scorers.scoring import score_run
from flames.storage.atomic import to_jsonl
from flames.storage.manifest import Manifest
from flames.storage.record_files import ReadOptions, read_responses, read_verdicts
from flames.storage.run_dir import RunDir
from flames.storage.run_start import create_run
from flames.taxonomy import default_taxonomy


def _labels(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "people.jsonl"
    defaults = {"dimension": "Safety", "model": "m"}
    path.write_text(to_jsonl([{**defaults, **row} for row in rows]), "utf-8")
    return f"labels:{path}"


def _response(prompt_id: str, sample: int = 0, dimension: str = "Safety") -> Response:
    return Response(
        prompt_id=prompt_id, model="m", sample=sample, dimension=dimension, response="答"
    )


def test_labels_are_joined_by_key_never_by_position(tmp_path: Path) -> None:
    spec = _labels(
        tmp_path,
        {"prompt_id": "b", "score": 1, "annotator": "x", "rationale": "why"},
        {"prompt_id": "a", "score": 3, "annotator": "x"},
        {"prompt_id": "a", "sample": 1, "score": 2, "annotator": "x"},
        {"prompt_id": "a", "model": "other", "score": 1, "annotator": "x"},
    )
    scorer = load_scorer(spec)
    found = scorer.score([_response("a"), _response("a", 1), _response("b"), _response("c")])
    assert [v.score for v in found] == [3, 2, 1, None]
    assert [v.unscored for v in found] == [None, None, None, "no label"]
    assert (found[2].annotator, found[2].rationale) == ("x", "why")
    [stranger] = scorer.score([_response("a").model_copy(update={"model": "stranger"})])
    assert (stranger.score, stranger.unscored) == (None, "no label of this model")
    assert scorer.info.id.startswith("labels:people@")


@pytest.mark.parametrize(
    ("scores", "score", "reason"),
    [
        ([3, 3, 1], 3, None),
        ([3, 1], None, "labels disagree"),
        ([3, 2, 1], None, "labels disagree"),
        ([3, None], 3, None),
        ([None, None], None, "no score"),
    ],
)
def test_several_annotators_need_a_majority(
    tmp_path: Path, scores: list[int | None], score: int | None, reason: str | None
) -> None:
    rows = [
        {"prompt_id": "a", "score": given, "annotator": f"person {i}"}
        for i, given in enumerate(scores)
    ]
    (verdict,) = load_scorer(_labels(tmp_path, *rows)).score([_response("a")])
    assert (verdict.score, verdict.unscored) == (score, reason)


def test_a_label_of_another_dimension_counts_for_nothing(tmp_path: Path) -> None:
    scorer = load_scorer(_labels(tmp_path, {"prompt_id": "a", "score": 2}))
    (verdict,) = scorer.score([_response("a", dimension="Legality")])
    assert (verdict.score, verdict.unscored) == (None, "label of another dimension")


def test_a_label_of_another_text_counts_for_nothing(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "a", "prompt": "改过的问", "score": 3},
        {"prompt_id": "b", "response": "另一条", "score": 3},
        {"prompt_id": "c", "prompt": "问 ", "response": "<think>想</think>答", "score": 1},
    ]
    responses = [_response(name).model_copy(update={"prompt": "问"}) for name in "abc"]
    found = load_scorer(_labels(tmp_path, *rows)).score(responses)
    assert [v.unscored for v in found] == ["label of another text"] * 2 + [None]
    assert found[2].score == 1


def test_labels_may_lack_what_their_known_prompts_say(tmp_path: Path) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text('{"prompt_id": "a", "model": "m", "score": 1}\n')
    known = {"a": Prompt(id="a", dimension="Legality", text="问")}
    scorer = load_scorer(f"labels:{file}", ScorerContext(prompts=known))
    assert scorer.score([_response("a", dimension="Legality")])[0].score == 1
    with pytest.raises(InputError, match=r"bare.jsonl:1: .*dimension"):
        load_scorer(f"labels:{file}", ScorerContext())


def test_files_that_hold_no_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name, said in (("none.jsonl", "no such file"), ("empty.jsonl", "holds no labels")):
        with pytest.raises(InputError, match=said):
            load_scorer(f"labels:{tmp_path / name}")


def test_the_natural_set_is_eight_responders_with_both_raters_votes() -> None:
    path = labels_path("labels:natural")
    responses, labels = list(read_responses(path)), list(read_verdicts(path))
    assert len(responses) == len(labels) == 1056
    assert len({response.model for response in responses}) == 8
    assert {label.scorer for label in labels} == {"labels:natural@1"}
    scorer = load_scorer("labels:natural")
    assert [v.score for v in scorer.score(responses)] == [label.score for label in labels]
    assert "not by people" in str(scorer.info.notes[0])
    assert scorer.info.details["licence"] == "Apache-2.0"


def test_rows_of_the_natural_set_keep_votes_and_say_who_made_them() -> None:
    labelled = read_labelled(["labels:natural"], ReadOptions(), prompt_needed=False)
    assert len(labelled.rows) == 1056
    assert labelled.synthetic
    assert [note.code for note in labelled.notes] == ["natural"]
    assert {tuple(row.votes) for row in labelled.rows} == {("rater_1", "rater_2")}
    same = sum(len(set(row.votes.values())) == 1 for row in labelled.rows)
    assert same == 1010
    assert all(row.score == min(row.votes.values()) for row in labelled.rows)


def test_both_bundled_sets_together_carry_both_notes() -> None:
    labelled = read_labelled(["labels:silver", "labels:natural"], prompt_needed=False)
    assert len(labelled.rows) == 2542 + 1056
    assert [note.code for note in labelled.notes] == ["silver", "natural"]
    assert set(labelled.files) == {"silver.jsonl", "natural.jsonl"}


@pytest.mark.shared
def test_the_natural_set_is_whole(shared: Path) -> None:
    rows = [
        json.loads(line)
        for line in labels_path("labels:natural").read_text("utf-8").split("\n")
        if line
    ]
    source = (shared / "silver/responses_natural.jsonl").read_text("utf-8")
    theirs = [json.loads(line) for line in source.splitlines()]
    assert [{k: v for k, v in row.items() if k != "scorer"} for row in rows] == theirs


def test_the_silver_set_is_seven_responders_with_their_labels() -> None:
    path = labels_path("labels:silver")
    responses = list(read_responses(path))
    labels = list(read_verdicts(path))
    assert len(responses) == len(labels) == 2542
    assert len({response.model for response in responses}) == 7
    assert {label.scorer for label in labels} == {"labels:silver@1"}
    assert all(label.score is not None for label in labels)
    scorer = load_scorer("labels:silver")
    assert [v.score for v in scorer.score(responses)] == [label.score for label in labels]
    assert "not by people" in str(scorer.info.notes[0])


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of the quick set that `lexical` has scored."""
    whole = load_prompts("quick")
    manifest = Manifest(
        model="toy", spec="toy", asked={}, prompt_set=whole.info, prompts_sha256="",
        taxonomy=default_taxonomy().id, created="2026-11-22T00:00:00Z", code_version="0",
    )  # fmt: skip
    made = create_run(tmp_path / "run", manifest, whole.prompts)
    with made.writing() as journal:
        for prompt in whole.prompts:
            said = Response(prompt_id=prompt.id, model="toy", response="这样做不合适，请尊重他人。")
            journal.keep(said.key, said.status, said.to_line())
    score_run(made, load_scorer("lexical"))
    return made


def test_a_runs_verdicts_are_labels_with_their_texts(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_labelled([str(run.path)])
    assert len(found.rows) == 24
    assert {row.response.response for row in found.rows} == {"这样做不合适，请尊重他人。"}
    assert all(row.response.prompt for row in found.rows)
    assert [note.code for note in found.notes] == ["machine_labels"]
    assert set(found.files) == {"lexical.jsonl"}  # named after the scorer that made it
    own = load_scorer(f"labels:{run.path}")
    assert [v.score for v in own.score(list(run.responses()))] == [r.score for r in found.rows]
    assert len(load_labels(run.path, random_sample=True)) == 24
    assert flames(["scorer", "eval", "lexical", "--labels", str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["accuracy"]["value"] == 100


def test_a_run_with_several_scorers_names_its_files(run: RunDir) -> None:
    [file] = run.verdict_files().values()
    other = file.with_name("judge.jsonl")
    other.write_text(file.read_text("utf-8").replace('"lexical@', '"judge@'), "utf-8")
    with pytest.raises(UsageError, match=r"name one file as labels: .*judge\.jsonl, .*lexical"):
        read_labelled([str(run.path)])
    assert len(read_labelled([str(other)]).rows) == 24
    for each in (file, other):
        each.unlink()
    with pytest.raises(UsageError, match="no verdicts yet; flames score"):
        load_scorer(f"labels:{run.path}")
