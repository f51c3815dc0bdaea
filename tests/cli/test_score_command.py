from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from score_rows import read_lines, response_rows, write_rows

from flames.collect.ask import Asking, prepare
from flames.collect.plan import Plan
from flames.models.load import CallableModel
from flames.prompts.sets import load_prompts
from flames.storage.atomic import to_jsonl
from flames.taxonomy import Taxonomy

Flames = Callable[..., tuple[int, str, str]]


def test_an_option_that_the_scorer_does_not_know_is_refused(flames: Flames, tmp_path: Path) -> None:
    source = write_rows(tmp_path, response_rows(1))
    code, out, err = flames("score", source, "--scorer", "lexical", "--scorer-option", "votes=3")
    assert (code, out) == (2, "")
    assert "the scorer lexical has no option 'votes'; it has: none" in err
    code, _, err = flames("score", source, "--scorer-option", "treshold=0.9")
    assert code == 2
    assert "'treshold'" in err


def test_the_command_scores_to_standard_output_a_file_and_the_released_format(
    flames: Flames, tmp_path: Path
) -> None:
    path = write_rows(tmp_path, response_rows(6))
    code, out, err = flames("score", path, "--scorer", "lexical")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["note"] for line in lines] == list(range(6))
    assert {line["scorer"] for line in lines} == {"lexical@2"}
    assert "3 scored, 3 unscored (" in err
    code, out, _ = flames("score", path, "--scorer", "lexical", "--out", tmp_path / "o.jsonl", "-q")
    assert (code, out) == (0, "")
    assert read_lines(tmp_path / "o.jsonl") == lines
    assert flames("score", path, "--format", "official")[0] == 0
    predicted = [line["predicted"] for line in read_lines(tmp_path / "in_predicted.jsonl")]
    assert [p is None for p in predicted] == [False, False, True, False, True, True]


def test_thinking_that_was_left_in_is_taken_out_counted_and_reported(
    flames: Flames, tmp_path: Path
) -> None:
    row = {"dimension": "Safety", "response": "这样很危险。"}
    thinking = {**row, "response": "<think>她想跳下去</think>这样很危险。"}
    rows = [{**row, "prompt": "一"}, {**thinking, "prompt": "二"}, {**thinking, "prompt": "三"}]
    rows.append({**row, "prompt": "四", "response": "<think>想不完"})
    path, out = write_rows(tmp_path, rows), tmp_path / "v.jsonl"
    code, _, err = flames("score", path, "--scorer", "lexical", "--out", out)
    assert code == 0
    assert "3 responses began with thinking" in err
    lines = read_lines(out)
    assert [line["response"] for line in lines] == ["这样很危险。"] * 3 + [""]
    assert lines[1]["probabilities"] == lines[2]["probabilities"] == lines[0]["probabilities"]
    assert (lines[3]["score"], lines[3]["unscored"]) == (None, "truncated in thought")
    note = "responses that began with thinking, which was split off and not scored: 3"
    notes = json.loads(flames("report", out, "--format", "json")[1])["notes"]
    assert note in [each["text"] for each in notes]
    code, _, err = flames("score", path, "--format", "official")
    assert "3 responses began with thinking" in err
    official = read_lines(tmp_path / "in_predicted.jsonl")
    assert [line["response"] for line in official] == [row["response"] for row in rows]
    assert official[3]["predicted"] is None


def test_the_command_takes_pipes_and_the_bundled_responders(
    flames: Flames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    os.write(write, to_jsonl(response_rows(2)).encode())
    os.close(write)
    with open(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code, out, _ = flames("score", "-", "--model", "me")
    assert code == 0
    assert [json.loads(line)["model"] for line in out.splitlines()] == ["me", "me"]
    out_file = tmp_path / "s.jsonl"
    code, _, err = flames("score", "labels:silver", "--scorer", "labels:silver", "--out", out_file)
    assert (code, "2542 scored" in err) == (0, True)


BAD_CALLS: dict[str, tuple[list[str], str]] = {
    "no file": (["none.jsonl"], "none.jsonl: no such file"),
    "scorer": (["FILE", "--scorer", "lexcal"], "did you mean 'lexical'"),
    "truncated": (["FILE", "--truncated", "maybe"], "--truncated takes scored or unscored"),
    "format": (["FILE", "--format", "xml"], "--format takes jsonl, xlsx, parquet or official"),
    "option": (["FILE", "--scorer-option", "x"], "NAME=VALUE"),
    "labels": (["FILE", "--scorer", "labels:none.jsonl"], "none.jsonl: no such file"),
    "set": (["FILE", "--prompts", "opem"], "did you mean 'open'"),
    "stdin": (["-", "--format", "official"], "needs a file"),
    "broken": (["BROKEN"], "broken.jsonl:3: is no JSON"),
    "no run": (["FOLDER"], "FOLDER: holds no run and no shards"),
    "empty": (["EMPTY"], "empty.jsonl: holds no responses"),
    "empty out": (["EMPTY", "--out", "o.jsonl"], "empty.jsonl: holds no responses"),
    "out of a run": (["FOLDER", "--out", "x"], "holds no run and no shards"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_are_one_line_and_exit_code_2(flames: Flames, tmp_path: Path, name: str) -> None:
    words, said = BAD_CALLS[name]
    (tmp_path / "folder").mkdir()
    file = write_rows(tmp_path, response_rows(2))
    broken = tmp_path / "broken.jsonl"
    broken.write_text(to_jsonl(response_rows(2)) + '{"a": \n', "utf-8")
    (tmp_path / "empty.jsonl").write_text("\n", "utf-8")
    empty = tmp_path / "empty.jsonl"
    names = {"FILE": file, "BROKEN": broken, "EMPTY": empty, "FOLDER": tmp_path / "folder"}
    code, out, err = flames("score", *(names.get(word, word) for word in words))
    assert code == 2
    assert out == "", "nothing is scored before the input was read to its end"
    assert err.count("\n") == 1
    assert said.replace("FOLDER", str(tmp_path / "folder")) in err


def test_a_run_is_scored_with_the_taxonomy_it_was_asked_with(
    flames: Flames, tmp_path: Path
) -> None:
    taxonomy = Taxonomy.model_validate(
        {
            "name": "mini",
            "dimensions": [
                {"name": "Honesty", "label": {"zh": "诚实", "en": "Honesty"}, "scale": [5, 1]}
            ],
        }
    )
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"dimension": "honesty", "prompt": "问"}\n', "utf-8")
    labels = tmp_path / "people.jsonl"
    labels.write_text(
        '{"dimension": "Honesty", "prompt": "问", "model": "me", "score": 5}\n', "utf-8"
    )
    asked = load_prompts(str(prompts), taxonomy=taxonomy)
    out = tmp_path / "run"
    plan = Plan(CallableModel(lambda _: "答", name="me"), asked, taxonomy=taxonomy)
    run = prepare(plan, out)
    with Asking(plan, run) as asking:
        asking.ask()
    code, _, err = flames("score", out)
    assert code == 2
    assert "no head for mini@1" in err
    assert not run.verdict_files(), "no verdicts of another taxonomy's dimensions"
    assert flames("score", out, "--scorer", f"labels:{labels}")[0] == 0
    [file] = run.verdict_files().values()
    assert [line["score"] for line in read_lines(file)] == [5]


def test_a_run_without_responses_is_not_scored(flames: Flames, tmp_path: Path) -> None:
    plan = Plan(CallableModel(lambda _: "答", name="me"), load_prompts("quick"))
    run = prepare(plan, tmp_path / "run")
    code, out, err = flames("score", run.path)
    assert (code, out) == (2, "")
    assert err == f"flames: error: {run.path}: holds no responses\n"
    assert not run.verdict_files()


def test_a_reader_that_has_enough_is_no_failure() -> None:
    command = [
        sys.executable,
        "-m",
        "flames",
        "score",
        "labels:silver",
        "--scorer",
        "labels:silver",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["scorer"] == "labels:silver@1"
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
