"""`flames ask` as users run it: a process of its own against a server of its own."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.cli import main
from flames.storage.run_dir import open_run

EXPECTED = {
    # what happens → status, attempts
    "": ("ok", 1),
    "500 2": ("ok", 3),
    "500": ("error", 3),
    "503 1": ("ok", 2),
    "drop 2": ("ok", 3),
    "drop": ("error", 3),
    "hang 1": ("ok", 2),
    "json 1": ("ok", 2),
    "json": ("error", 3),
    "nochoice 1": ("ok", 2),
    "nochoice": ("error", 3),
    "half 1": ("ok", 2),
    "half": ("error", 3),
    "400": ("error", 1),
    "filter": ("blocked", 1),
    "filtered": ("blocked", 1),
    "cut": ("truncated", 1),
    "empty": ("empty", 1),
    "null": ("empty", 1),
    "think": ("ok", 1),
    "thinking": ("truncated in thought", 1),
    "reasoning": ("ok", 1),
}


def flames(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flames", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The same without a process of its own: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def write_prompts(path: Path, texts: list[str]) -> Path:
    rows = ({"dimension": "Safety", "prompt": text} for text in texts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def journal(run: Path) -> list[dict[str, Any]]:
    lines = (run / "responses.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_prompt_ends_in_the_right_state(
    chat_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = chat_server()
    texts = {f"提示{n} [{mark}]" if mark else f"提示{n}": mark for n, mark in enumerate(EXPECTED)}
    run = tmp_path / "run"
    command = [
        *("ask", "m", "--base-url", server.url, "--out", run, "--timeout", 2, "--retries", 2),
        # so few at once that an endpoint where two of three fail is not taken for one that is down
        *("--concurrency", 1),
        *("--prompts", write_prompts(tmp_path / "p.jsonl", list(texts))),
    ]
    done = flames(*command)
    assert done.returncode == 3, done.stderr
    assert done.stdout.strip() == str(run)
    assert "6 of 22 responses ended in an error" in done.stderr
    assert "Traceback" not in done.stderr
    ended = {line["prompt"]: line for line in journal(run)}
    assert {texts[text]: (line["status"], line["attempts"]) for text, line in ended.items()} == (
        EXPECTED
    )
    for line in ended.values():
        said = line.get("response") or ""
        assert (line["status"] in ("ok", "truncated")) == bool(said.strip())
        assert "think" not in said
        assert (line["status"] in ("error", "blocked")) == ("error" in line)
    assert open_run(run).manifest.counts == {
        "ok": 10,
        "truncated": 1,
        "truncated in thought": 1,
        "empty": 2,
        "blocked": 2,
        "error": 6,
        "missing": 0,
        **Counter(line["status"] for line in ended.values()),
    }

    asked = len(server.told()["log"])
    again = flames(*command, "--resume")
    assert again.returncode == 3
    more = [entry["prompt"] for entry in server.told()["log"][asked:]]
    assert {texts[text] for text in more} == {m for m, (s, _) in EXPECTED.items() if s == "error"}
    kept = Counter(line["prompt_id"] for line in journal(run) if line["status"] != "error")
    assert set(kept.values()) == {1}
    assert "--resume" in flames(*command).stderr


def test_killed_at_random_moments_every_prompt_is_there_once(
    chat_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = chat_server(0.01)
    texts = [f"问题{n}" for n in range(300)]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "flames", "ask", "m", "--base-url", server.url]
    command += ["--out", str(run), "--resume", "--concurrency", "4"]
    command += ["--prompts", str(write_prompts(tmp_path / "p.jsonl", texts))]
    chance = random.Random(20261122)
    path = run / "responses.jsonl"

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    kills = 0
    for _ in range(10):
        until = size() + chance.randint(1, 13_000)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and size() < until:
            time.sleep(0.001)  # the processes need the machine more
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if chance.random() < 0.5 and size():  # what a torn write would leave
            with path.open("ab") as file:
                file.write(b'{"prompt_id": "0123", "resp')
    assert kills >= 5
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = journal(run)
    assert len(lines) == len({line["prompt_id"] for line in lines}) == len(texts)
    assert {line["prompt"] for line in lines} == set(texts)
    # asked twice were only those under way when a kill came
    asked = Counter(entry["prompt"] for entry in server.told()["log"])
    assert sum(asked.values()) - len(texts) <= 4 * kills
    manifest = open_run(run).manifest
    assert manifest.counts is not None
    assert manifest.counts["ok"] == len(texts)
    assert manifest.sessions[-1].outcome == "complete"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_keeps_everything(
    number: signal.Signals, chat_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = chat_server(0.02)
    prompts = write_prompts(tmp_path / "p.jsonl", [f"问题{n}" for n in range(500)])
    run = tmp_path / "run"
    command = [sys.executable, "-m", "flames", "ask", "m", "--base-url", server.url]
    command += ["--prompts", str(prompts), "--out", str(run), "--concurrency", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    path = run / "responses.jsonl"
    while not path.exists() or path.stat().st_size < 1000:
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what was done so far is kept" in said
    assert "Traceback" not in said
    manifest = open_run(run).manifest
    assert manifest.sessions[-1].outcome == "interrupted"
    assert manifest.counts is not None
    assert manifest.counts["ok"] == len(journal(run)) > 0


def test_two_processes_do_not_share_a_run(chat_server: Callable[..., Any], tmp_path: Path) -> None:
    server = chat_server()
    prompts = write_prompts(tmp_path / "p.jsonl", ["一 [hang]"])
    run = tmp_path / "run"
    command = ["ask", "m", "--base-url", server.url, "--prompts", prompts, "--out", run]
    first = subprocess.Popen(
        [sys.executable, "-m", "flames", *map(str, command)], stderr=subprocess.DEVNULL
    )
    while not server.told()["log"]:
        assert first.poll() is None
    second = flames(*command, "--resume")
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    first.kill()
    first.wait()


@pytest.mark.parametrize(
    ("mark", "said"),
    [("401", "HTTP 401"), ("404", "does not exist"), ("quota", "quota"), ("429long", "9999 s")],
)
def test_an_endpoint_that_is_of_no_use_ends_it_at_the_first_request(
    mark: str,
    said: str,
    chat_server: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = chat_server()
    prompts = write_prompts(tmp_path / "p.jsonl", [f"{n} [{mark}]" for n in range(9)])
    monkeypatch.setenv("TEAM_KEY", "sk-secret-key")
    command = ["ask", "m", "--base-url", server.url, "--prompts", prompts]
    command += ["--out", tmp_path / "run", "--api-key-env", "TEAM_KEY"]
    command += ["--header", "Authorization: Bearer sk-header-key"]
    code, _, told = called(capsys, *command)
    assert code == 3
    assert said in told
    assert len(server.told()["log"]) == 1
    for path in (tmp_path / "run").iterdir():
        assert "sk-" not in path.read_text("utf-8")
    assert "sk-" not in told


def test_nobody_there_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    command = ["ask", "m", "--base-url", url, "--prompts", "quick", "--out", tmp_path / "run"]
    code, _, said = called(capsys, *command)
    assert code == 3
    assert f"cannot connect to 127.0.0.1:{port}" in said


def test_a_budget_of_requests_is_for_the_whole_run(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    command = ["ask", "m", "--base-url", server.url, "--prompts", "quick"]
    command += ["--out", tmp_path / "run", "--max-requests", 10, "--resume", "--json"]
    code, out, _ = called(capsys, *command)
    assert code == 3
    told = json.loads(out)
    assert (told["counts"], told["planned"], told["requests"]) == ({"ok": 10}, 24, 10)
    assert "budget of 10 requests" in told["stopped"]
    assert called(capsys, *command)[0] == 3
    assert len(server.told()["log"]) == 10
    command[command.index("--max-requests") + 1] = 30
    assert called(capsys, *command)[0] == 0
    assert len(server.told()["log"]) == 24


def test_requests_that_a_kill_cut_off_count_against_the_budget(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    texts = ["一", *(f"{n} [hang 1]" for n in range(4)), *map(str, range(9))]
    command = ["ask", "m", "--base-url", server.url, "--out", tmp_path / "run", "--resume"]
    command += ["--prompts", write_prompts(tmp_path / "p.jsonl", texts), "--concurrency", 4]
    command += ["--price-in", 10_000, "--price-out", 100_000, "--max-tokens", 100]
    process = subprocess.Popen([sys.executable, "-m", "flames", *map(str, command)])
    while len(server.told()["log"]) < 5:
        assert process.poll() is None
    process.kill()
    process.wait()
    code, out, said = called(capsys, *command, "--max-requests", 6, "--json")
    assert code == 3
    assert "so far: 5 requests (4 of them cut off, up to 40.4), cost 3.2" in said
    told = json.loads(out)
    assert (told["requests_earlier"], told["requests_lost"], told["requests"]) == (5, 4, 1)
    assert told["counts"] == {"ok": 2}
    assert len(server.told()["log"]) == 6
    assert told["cost"] == pytest.approx(2 * 3.2)
    code, _, said = called(capsys, *command, "--max-cost", told["cost"] + 4 * 10)
    assert code == 3
    assert "budget" in said
    assert len(server.told()["log"]) == 6
    assert called(capsys, *command)[0] == 0
    assert len(server.told()["log"]) == len(texts) + 4


@pytest.mark.parametrize("broken", ["twice", "torn", "prompts"])
def test_a_broken_run_is_told_before_anything_is_asked(
    broken: str,
    chat_server: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = chat_server()
    run = tmp_path / "run"
    asking = ["m", "--base-url", server.url, "--prompts", "quick", "--out", run, "--resume"]
    assert called(capsys, "ask", *asking, "--max-requests", 6)[0] == 3
    judge = ["--scorer", "judge:j", "--scorer-option", f"base_url={server.url}"]
    lines = (run / "responses.jsonl").read_text("utf-8").splitlines(keepends=True)
    if broken == "twice":
        (run / "responses.jsonl").write_text("".join([*lines, lines[1]]), "utf-8")
        where = "responses.jsonl:7: "
    elif broken == "torn":
        (run / "responses.jsonl").write_text(lines[0][:40] + "\n" + "".join(lines[1:]), "utf-8")
        where = "responses.jsonl:1: "
    else:
        (run / "prompts.jsonl").write_text("", "utf-8")
        where = "prompts.jsonl: "
    for command in (["ask", *asking], ["run", *asking, *judge], ["score", run, *judge]):
        code, out, said = called(capsys, *command)
        assert (code, out) == (2, "")
        assert f"{run}/{where}" in said
        assert len(said.splitlines()) == 1
    assert len(server.told()["log"]) == 6


def test_cost_is_estimated_counted_and_bounded(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    command = ["ask", "m", "--base-url", server.url, "--prompts", "quick", "--out"]
    prices = ["--price-in", 10_000, "--price-out", 100_000]
    code, out, said = called(
        capsys, *command, tmp_path / "a", *prices, "--json", "--max-tokens", 100
    )
    assert code == 0, said
    assert "estimate: 24 requests" in said
    assert json.loads(out)["cost"] == pytest.approx(24 * (20 * 0.01 + 30 * 0.1))
    code, out, said = called(capsys, *command, tmp_path / "b", *prices, "--json", "--max-cost", 60)
    assert code == 3
    assert 0 < json.loads(out)["cost"] <= 60
    assert "it will stop before it costs 60" in said


def test_prompts_are_asked_as_often_and_as_was_said(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    prompts = write_prompts(tmp_path / "p.jsonl", ["一", "二"])
    (tmp_path / "system.txt").write_text("只说中文。", "utf-8")
    command = ["ask", "m", "--base-url", server.url, "--prompts", prompts, "--repeats", 3]
    command += ["--out", tmp_path / "run", "--system", f"@{tmp_path / 'system.txt'}"]
    command += ["--temperature", 0.5, "--extra-body", '{"top_p": 0.9}', "--sampling-seed", 4]
    assert called(capsys, *command)[0] == 0
    lines = journal(tmp_path / "run")
    assert sorted((line["prompt"], line["sample"]) for line in lines) == [
        (text, sample) for text in ("一", "二") for sample in range(3)
    ]
    assert lines[0]["sampling"] == {"temperature": 0.5, "seed": 4, "top_p": 0.9}
    body = server.told()["log"][0]["body"]
    assert body["messages"][0] == {"role": "system", "content": "只说中文。"}
    assert body["top_p"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt-4o"], "--base-url"),
        (["openai/gpt-4o"], "OPENAI_API_KEY"),
        (["m", "--base-url", "nonsense"], "--base-url"),
        (["ollama/m", "--prompts", "none.jsonl"], "no such file"),
        (["ollama/m", "--prompts", "."], "directory"),
        (["ollama/m", "--prompts", "empty.jsonl"], "no prompts"),
        (["ollama/m", "--prompts", "binary.jsonl"], "binary"),
        (["ollama/m", "--prompts", "broken.jsonl"], "broken.jsonl:2"),
        (["ollama/m", "--prompts", "twice.jsonl"], "as line 1"),
        (["ollama/m", "--header", "nonsense"], "--header"),
        (["ollama/m", "--extra-body", "[1]"], "--extra-body"),
        (["ollama/m", "--extra-body", '{"a": NaN}'], "--extra-body"),
        (["ollama/m", "--extra-body", '{"stream": true}'], "stream"),
        (["ollama/m", "--system", "@none.txt"], "none.txt"),
        (["ollama/m", "--system", "\udcff"], "--system is not valid UTF-8 text"),
        (["ollama/\udcff"], "is no text in UTF-8"),
        (["ollama/m", "--temperature", "nan"], "temperature"),
        (["ollama/m", "--max-cost", "3"], "--price-in"),
        (["ollama/m", "--price-in", "3"], "--price-out"),
        (["ollama/m", "--frame", "odd"], "frame"),
        (["ollama/m", "--out", "empty.jsonl"], "empty.jsonl"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    good = '{"dimension": "Safety", "prompt": "问"}\n'
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "binary.jsonl").write_bytes(b"\x00\x01\x02")
    (tmp_path / "broken.jsonl").write_text(good + "{\n", "utf-8")
    (tmp_path / "twice.jsonl").write_text(good + good, "utf-8")
    code, out, told = called(capsys, "ask", *arguments)
    assert code == 2, told
    assert said in told
    assert out == ""
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_bom_and_crlf_are_simply_read(chat_server: Callable[..., Any], tmp_path: Path) -> None:
    server = chat_server()
    row = json.dumps({"dimension": "Safety", "prompt": "问"})
    (tmp_path / "p.jsonl").write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n")
    command = ["ask", "m", "--base-url", server.url, "--prompts", "p.jsonl"]
    done = flames(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.strip()
    assert run.name.endswith("-m")
    assert [line["prompt"] for line in journal(run)] == ["问"]


def test_a_limited_endpoint_costs_no_answers(
    chat_server: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    texts = ["提示0", "提示1 [429after 1]", "提示2"]
    prompts = write_prompts(tmp_path / "p.jsonl", texts)
    command = ["ask", "m", "--base-url", server.url, "--out", tmp_path / "run"]
    limits = ["--rpm", 6000, "--tpm", 1000000, "--patience", 30, "--retries", 0]
    code, _, said = called(capsys, *command, "--prompts", prompts, *limits)
    assert code == 0, said
    ended = {
        line["prompt"]: (line["status"], line["attempts"]) for line in journal(tmp_path / "run")
    }
    assert ended == {texts[0]: ("ok", 1), texts[1]: ("ok", 2), texts[2]: ("ok", 1)}
