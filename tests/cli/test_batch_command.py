"""`flames batch`, `flames ask --batch` and `flames run --batch`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_endpoint import BatchEndpoint

Flames = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BatchEndpoint]:
    endpoint = BatchEndpoint(tmp_path)
    yield endpoint
    endpoint.stop()


def prompts(folder: Path, texts: list[str]) -> Path:
    path = folder / "prompts.jsonl"
    rows = ({"dimension": "Safety", "prompt": text} for text in texts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_run_by_batch_is_scored_once_everything_is_there(
    flames: Flames, server: BatchEndpoint, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    server.control(looks=1)
    command = [
        *("run", "m", "--base-url", server.url, "--out", run, "--scorer", "lexical", "--batch"),
        *("--prompts", prompts(tmp_path, [f"提示{n}" for n in range(5)]), "--lang", "en"),
    ]
    code, out, err = flames(*command)
    assert (code, out) == (0, "")
    assert "batch batch_1: 5 requests, to be answered within 24h" in err
    assert "the same command with --resume collects what is finished by then" in err
    assert "m: 5 in a batch; 5 requests" in err
    code, _, err = flames(*command)
    assert code == 2
    assert "exists already with 0 of 5 responses and 5 in a batch; add --resume" in err
    code, _, err = flames(*(word for word in command if word != "--batch"), "--resume")
    assert code == 3
    assert "5 of 5 responses are in a batch: the same command with --batch --resume" in err
    assert flames(*command, "--resume")[0] == 0
    assert not (run / "report.json").exists()
    code, out, _ = flames(*command, "--resume")
    assert code == 0
    assert "5 responses by batch" in out
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert report["conditions"]["by_batch"] == 5
    code, out, _ = flames("ask", *command[1:6], *command[8:11], "--batch", "--resume", "--json")
    assert (code, json.loads(out)["in_batches"]) == (0, 0)


def test_waiting_goes_with_batches_only(flames: Flames, tmp_path: Path) -> None:
    code, _, err = flames("ask", "m", "--base-url", "http://127.0.0.1:9/v1", "--wait")
    assert (code, err) == (2, "flames: error: --wait and --window go with --batch\n")


def test_an_endpoint_without_batches_is_one_line(
    flames: Flames, chat_server: Callable[..., Any], server: BatchEndpoint, tmp_path: Path
) -> None:
    url = f"{server.url}/nowhere"
    code, _, err = flames("ask", "m", "--base-url", url, "--batch", "--out", tmp_path / "run")
    assert code == 3
    assert f"there is no batch interface at {url} (POST {url}/files): leave out --batch" in err


def test_runs_with_a_batch_under_way_are_not_merged(
    flames: Flames, server: BatchEndpoint, tmp_path: Path
) -> None:
    server.control(looks=9)
    file = prompts(tmp_path, ["一"])
    for name in ("a", "b"):
        asked = ("--base-url", server.url, "--prompts", file, "--out", tmp_path / name)
        assert flames("ask", "m", *asked, "--batch")[0] == 0
    code, _, err = flames("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    assert code == 2
    assert "1 of its responses are in a batch: collect them first" in err


def answered(request: dict[str, Any]) -> dict[str, Any]:
    body = {"choices": [{"message": {"content": "不行。"}, "finish_reason": "stop"}]}
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}}


def test_the_commands_print_what_they_wrote(flames: Flames, tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ("--prompts", prompts(tmp_path, ["一", "二"]), "--out", run)
    code, out, err = flames("batch", "export", "my-model", *asked)
    assert (code, out) == (0, f"{run / 'requests.jsonl'}\n")
    assert "2 of 2 requests are to be asked" in err
    first, *_ = (run / "requests.jsonl").read_text("utf-8").splitlines()
    file = tmp_path / "out.jsonl"
    file.write_text(json.dumps(answered(json.loads(first))), "utf-8")
    code, out, err = flames("batch", "import", run, file, "--json")
    assert code == 0
    assert json.loads(out)["counts"] == {"ok": 1}
    target = tmp_path / "more.jsonl"
    assert flames("batch", "export", run, "--requests", target)[0] == 0
    assert len(target.read_text("utf-8").splitlines()) == 1
    code, _, err = flames("batch", "export", run, "--requests", target)
    assert (code, "exists already; add --overwrite" in err) == (2, True)
    assert flames("batch", "export", run, "--requests", target, "--overwrite")[0] == 0
