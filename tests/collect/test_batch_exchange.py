"""Requests out and results in as files, as `vllm run-batch` reads and writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.collect.batch_exchange import (
    ExportOptions,
    ImportOptions,
    export_requests,
    import_results,
)
from flames.collect.batch_results import BatchResults
from flames.errors import InputError, UsageError
from flames.models.base import Sampling
from flames.records import Key
from flames.storage.run_dir import open_run


def prompts(folder: Path, texts: list[str]) -> Path:
    path = folder / "prompts.jsonl"
    rows = ({"dimension": "Safety", "prompt": text} for text in texts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def answered(request: dict[str, Any], text: str = "不行。", finish: str = "stop") -> dict[str, Any]:
    body = {
        "model": request["body"]["model"],
        "choices": [{"message": {"content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "vllm-1", "custom_id": request["custom_id"], "response": response, "error": None}


def refused(request: dict[str, Any], message: str) -> dict[str, Any]:
    error = {"message": message, "type": "BadRequestError", "code": 400}
    response = {"status_code": 400, "request_id": "r", "body": None}
    return {"custom_id": request["custom_id"], "response": response, "error": error}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    options = ExportOptions(
        model="Qwen/Qwen3-8B",
        prompts=str(prompts(tmp_path, ["一", "二", "三"])),
        out=tmp_path / "run",
        repeats=2,
        system="你好",
    )
    done = export_requests(options, Sampling(max_tokens=40, extra={"top_p": 0.5}))
    assert (done.requests, done.files) == (6, [tmp_path / "run" / "requests.jsonl"])
    return tmp_path / "run"


def requests(run: Path) -> list[dict[str, Any]]:
    lines = (run / "requests.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_requests_are_those_of_the_run(run: Path) -> None:
    first, *_ = rows = requests(run)
    assert first["body"] == {
        "model": "Qwen/Qwen3-8B",
        "messages": [{"role": "system", "content": "你好"}, {"role": "user", "content": "一"}],
        "max_tokens": 40,
        "top_p": 0.5,
    }
    assert (first["method"], first["url"]) == ("POST", "/v1/chat/completions")
    assert len({row["custom_id"] for row in rows}) == 6
    assert open_run(run).manifest.asked == {
        "provider": "files",
        "model": "Qwen/Qwen3-8B",
        "api": "chat",
    }


def test_results_of_any_order_are_taken_as_live_answers_are(run: Path, tmp_path: Path) -> None:
    one, two, three, four, five, six = requests(run)
    results = [
        answered(six, "<think>嗯</think>不行。"),
        answered(two, "不", "length"),
        refused(three, "data may contain inappropriate content: DataInspectionFailed"),
        refused(four, "too long"),
        answered(five, ""),
        answered(one, "<plan>先想</plan>不行。"),
        answered({**one, "custom_id": "foreign"}),
    ]
    file = write(tmp_path / "out.jsonl", results)
    done = import_results(run, [file], ImportOptions(think_tags=("<plan>",)))
    assert done.counts == {"ok": 2, "truncated": 1, "blocked": 1, "error": 1, "empty": 1}
    assert done.missing == 1
    assert "1 lines (foreign) with a custom_id that this run did not ask" in done.told[0]
    found = {(r.prompt, r.sample): r for r in open_run(run).responses()}
    assert found["一", 0].response == found["三", 1].response == "不行。"
    assert found["一", 0].extra["batch"] == "out.jsonl"
    assert found["一", 0].sampling == {"max_tokens": 40, "top_p": 0.5}
    assert "too long" in str(found["一", 1].error)
    assert open_run(run).manifest.counts == {
        "ok": 2,
        "truncated": 1,
        "blocked": 1,
        "error": 1,
        "empty": 1,
        "truncated in thought": 0,
        "missing": 0,
    }


def test_a_file_may_be_imported_again_and_errors_be_made_up_for(run: Path, tmp_path: Path) -> None:
    one, two, *_ = requests(run)
    file = write(tmp_path / "out.jsonl", [answered(one), refused(two, "too long")])
    import_results(run, [file])
    size = (run / "responses.jsonl").stat().st_size
    again = import_results(run, [file])
    assert (again.counts, again.known) == ({}, 2)
    assert (run / "responses.jsonl").stat().st_size == size
    rest = export_requests(ExportOptions(model=str(run)))
    assert rest.requests == 5
    assert two["custom_id"] in {row["custom_id"] for row in requests(run)}
    import_results(run, [write(tmp_path / "more.jsonl", [answered(two)])])
    assert open_run(run).check()["ok"] == 2


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['{"custom_id": "a", "resp'], r"out\.jsonl:1: is no JSON"),
        (["[1]"], r"out\.jsonl:1: is no result of a batch"),
        (["", '{"prompt": "一"}'], r"out\.jsonl:2: is no result of a batch"),
        (['{"custom_id": "a", "body": {}}'], r"is a request of a batch, no result"),
        (['{"custom_id": "a", "error": {}}'], r"none of its results is of this run: 1 lines \(a\)"),
    ],
)
def test_what_is_no_result_is_refused_with_its_place(
    run: Path, tmp_path: Path, lines: list[str], expected: str
) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InputError, match=expected):
        import_results(run, [file])
    assert list(open_run(run).responses()) == []


def test_two_answers_to_one_request_are_refused(run: Path, tmp_path: Path) -> None:
    one, *_ = requests(run)
    same = write(tmp_path / "same.jsonl", [answered(one), refused(one, "no"), answered(one)])
    other = write(tmp_path / "other.jsonl", [answered(one, "可以。")])
    with pytest.raises(InputError, match=r"other\.jsonl:1: .* has another answer on line 1"):
        import_results(run, [same, other])
    assert import_results(run, [same]).counts == {"ok": 1}


def test_an_export_begins_no_run_by_a_slip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run; to begin one, give the model's name"):
        export_requests(ExportOptions(model=str(tmp_path / "rnu"), prompts="quick"))
    with pytest.raises(UsageError, match="is no run"):
        export_requests(ExportOptions(model=str(tmp_path), prompts="quick", out=tmp_path / "run"))


def test_a_run_is_exported_as_it_is(run: Path) -> None:
    with pytest.raises(UsageError, match="leave out --prompts"):
        export_requests(ExportOptions(model=str(run), prompts="quick"))
    with pytest.raises(UsageError, match="leave out the sampling parameters"):
        export_requests(ExportOptions(model=str(run)), Sampling(max_tokens=9))


ROWS = st.fixed_dictionaries(
    {"custom_id": st.sampled_from(["a", "b", "c", "x"])},
    optional={
        "response": st.none()
        | st.fixed_dictionaries({"body": st.dictionaries(st.text(), st.text())}),
        "error": st.none() | st.text(),
        "more": st.text(),
    },
)


@given(st.lists(ROWS | st.text() | st.integers(), max_size=8), st.booleans())
def test_any_lines_are_read_or_counted(tmp_path_factory: Any, rows: list[Any], torn: bool) -> None:
    file = tmp_path_factory.mktemp("rows") / "out.jsonl"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(text[:-3] if torn else text, "utf-8")
    known = {name: Key(name, "m", 0) for name in "abc"}
    results = BatchResults(known)
    with file.open("rb") as opened:
        results.add(opened, "out.jsonl", strict=False)
        found = [key.prompt_id for key, _ in results]
    assert len(found) == len(set(found)) == len(results)
    assert set(found) <= {row["custom_id"] for row in rows if isinstance(row, dict)}
