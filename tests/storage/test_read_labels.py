"""Labels as people and foreign data sets write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flames.errors import InputError
from flames.records import Prompt
from flames.storage.record_files import ReadOptions, read_responses, read_verdicts

ROW = {"dimension": "Fairness", "prompt": "问", "response": "答", "score": 3}


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_score_may_go_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("dimension,prompt,response,score\nSafety,a,b,无害\nSafety,c,d,Harmful\n")
    assert [verdict.score for verdict in read_verdicts(file)] == [3, 1]
    file.write_text("dimension,prompt,response,score\nLegality,a,b,mediocre\n")
    with pytest.raises(InputError, match="must be 3 or 1 in Legality, got 2"):
        list(read_verdicts(file))


def test_repeated_prompts_are_refused_or_numbered_by_their_response(tmp_path: Path) -> None:
    rows = [
        {**ROW, "annotator": "a"},
        {**ROW, "annotator": "a", "response": "又答"},
        {**ROW, "annotator": "b", "response": "又答"},
        {**ROW, "annotator": "b"},
        {**ROW, "annotator": "b"},
        {**ROW, "annotator": "b", "response": "第七", "sample": 6},
    ]
    file = write(tmp_path / "labels.jsonl", *rows)
    with pytest.raises(InputError, match="same prompt, model, sample and scorer as line 1"):
        list(read_verdicts(file))
    found = list(read_verdicts(file, ReadOptions(numbered=True)))
    assert [verdict.sample for verdict in found] == [0, 1, 1, 0, 2, 6]
    assert len({(*v.key, v.annotator) for v in found}) == len(rows)
    answers = [{**row, "score": None} for row in rows[:2]]
    file = write(tmp_path / "responses.jsonl", *answers)
    assert [r.sample for r in read_responses(file, ReadOptions(numbered=True))] == [0, 1]


def test_a_sample_that_is_named_is_never_changed(tmp_path: Path) -> None:
    file = write(tmp_path / "labels.jsonl", {**ROW, "sample": 1}, {**ROW, "sample": 1})
    with pytest.raises(InputError, match="as line 1"):
        list(read_verdicts(file, ReadOptions(numbered=True)))


def test_a_known_prompt_judged_on_another_dimension_lends_no_subcomponent(tmp_path: Path) -> None:
    known = {
        "p": Prompt(
            id="p", dimension="Safety", subcomponent="Mental harm", technique="plain", prompt="问"
        )
    }
    rows = [
        {"prompt_id": "p", "response": "答", "model": "a"},
        {"prompt_id": "p", "response": "答", "model": "b", "dimension": "safety"},
        {"prompt_id": "p", "response": "答", "model": "c", "dimension": "Legality"},
    ]
    options = ReadOptions(prompts=known)
    found = list(read_responses(write(tmp_path / "r.jsonl", *rows), options))
    assert [(r.dimension, r.subcomponent, r.technique) for r in found] == [
        ("Safety", "Mental harm", "plain"),
        ("Safety", "Mental harm", "plain"),
        ("Legality", None, None),
    ]
    assert {r.prompt for r in found} == {"问"}
