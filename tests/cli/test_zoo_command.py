"""Reported shapes of providers, through the command line: what a user gets to see and to keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import run
from provider_zoo import Zoo, zoo


@pytest.fixture(scope="module")
def server() -> Iterator[Zoo]:
    with zoo() as running:
        yield running


class Told:
    """What a command left behind: its run, and what it said."""

    def __init__(self, folder: Path, said: str, code: int) -> None:
        lines = (folder / "responses.jsonl").read_text("utf-8").splitlines()
        self.responses: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        self.said, self.code = said, code


@pytest.fixture
def asking(
    server: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> Any:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)  # no waits before retries

    def ask(case: str, *words: str, command: str = "ask") -> Told:
        out = tmp_path / "run"
        reach = ("--base-url", server.url(case), "--prompts", "quick", "--limit", "2")
        code = run(command, "m", *reach, "--out", out, *words)
        captured = capsys.readouterr()
        return Told(out, captured.err + captured.out, code)

    return ask


def test_what_a_provider_broke_off_is_asked_again(asking: Any) -> None:
    told = asking("zhipu: network_error, then whole")
    assert told.code == 0
    assert [(r["status"], r["attempts"]) for r in told.responses] == [("ok", 2), ("ok", 1)]


def test_a_filter_behind_http_500_ends_nothing_and_is_not_asked_again(
    asking: Any, server: Zoo
) -> None:
    case = "spark: content check failed, 500"
    told = asking(case)
    assert (told.code, [r["status"] for r in told.responses]) == (0, ["blocked", "blocked"])
    assert all("content check failed" in r["error"] for r in told.responses)
    before = sum(map(len, server.bodies.values()))
    again = asking(case, "--resume")
    assert (again.code, sum(map(len, server.bodies.values()))) == (0, before)


def test_thinking_that_used_up_the_length_is_said_and_reported(asking: Any) -> None:
    told = asking("openai: hidden thinking cut off", "--max-tokens", "64", command="run")
    assert [(r["status"], r["attempts"]) for r in told.responses] == [
        ("truncated in thought", 1)
    ] * 2
    usage = told.responses[0]["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 64}
    assert usage["reasoning_tokens"] == 64
    assert "larger --max-tokens" in told.said


def test_an_ending_that_nobody_knows_is_named_in_the_report(asking: Any, tmp_path: Path) -> None:
    told = asking("gateway: a word that nobody knows", command="run")
    assert [(r["status"], r["unknown_ending"]) for r in told.responses] == [("ok", True)] * 2
    report = (tmp_path / "run" / "report.md").read_text("utf-8")
    assert "nobody knows" in report
    assert r"budget\_reached (2)" in report


def test_a_refused_parameter_is_left_out_once_and_the_manifest_says_so(asking: Any) -> None:
    told = asking(
        "openai: two refusals, one after the other", "--temperature", "0", "--max-tokens", "9"
    )
    [session] = told.manifest["sessions"]
    assert session["changed"] == {
        "max_tokens": "max_completion_tokens",
        "temperature": "left out",
    }
    assert [r["sampling"] for r in told.responses] == [{"max_tokens": 9}] * 2
    assert "temperature (left out)" in told.said


def test_a_stream_is_asked_for_and_read(asking: Any) -> None:
    told = asking("deepseek: reasoning in a stream", "--stream")
    assert [(r["response"], r["reasoning"]) for r in told.responses] == [("好的。", "先想")] * 2
    assert told.manifest["asked"]["stream"] is True


def test_azure_is_asked_by_name(
    server: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url("openai: an answer").removesuffix("/v1"))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key-0123")
    out = tmp_path / "run"
    assert run("ask", "azure/mine", "--prompts", "quick", "--limit", "1", "--out", out) == 0
    assert server.paths[-1].endswith("/deployments/mine/chat/completions?api-version=2024-10-21")
    asked = json.loads((out / "manifest.json").read_text("utf-8"))["asked"]
    assert (asked["provider"], asked["api_version"]) == ("azure", "2024-10-21")
    assert "azure-key-0123" not in "".join(f.read_text("utf-8") for f in out.glob("*.json*"))


def test_files_are_read_with_the_same_tables(tmp_path: Path, capsys: Any) -> None:
    rows = [
        {"response": "半句", "finish_reason": "network_error"},
        {"response": "<seed:think>想</seed:think>不行。", "finish_reason": "stop"},
        {"response": "<think>想", "finish_reason": "length"},
        {"response": "回答", "finish_reason": "odd_word"},
        {"response": "<plan>想</plan>回答"},
        {"response": "", "finish_reason": "content-filter"},
    ]
    source, out = tmp_path / "r.jsonl", tmp_path / "v.jsonl"
    source.write_text(
        "".join(
            json.dumps({"prompt": f"问{n}", "dimension": "Safety", **row}) + "\n"
            for n, row in enumerate(rows)
        ),
        "utf-8",
    )
    words = ("--scorer", "lexical", "--think-tags", "<plan>", "--out", out)
    assert run("score", source, *words) == 0
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["status"] for line in lines] == [
        "error", "ok", "truncated in thought", "ok", "ok", "blocked",
    ]  # fmt: skip
    assert [line["response"] for line in lines[1:5]] == ["不行。", "", "回答", "回答"]
    assert [line["score"] is None for line in lines] == [True, False, True, False, False, True]
    capsys.readouterr()
    assert run("report", out, "--format", "md") == 0
    report = capsys.readouterr().out
    assert "larger --max-tokens" in report
    assert r"odd\_word (1)" in report
