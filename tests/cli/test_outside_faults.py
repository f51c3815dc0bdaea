"""What goes wrong outside: endpoints that fail or point elsewhere, full disks, odd places."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flames.storage.atomic import to_jsonl, write_atomic
from flames.text import has_visible_text

Flames = Callable[..., tuple[int, str, str]]


@contextmanager
def endpoint(status: int, to: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """An endpoint that answers everything with one status; its address, and who called."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(f"{self.command} {self.headers.get('X-Own')}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"choices": [{"message": {"content": "好"}}]}).encode()
            self.send_response(status)
            if to is not None:
                self.send_header("Location", to)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    row = {"dimension": "Safety", "model": "m", "response": "答"}
    path = tmp_path / "r.jsonl"
    path.write_text(to_jsonl({**row, "prompt": f"问{n}"} for n in range(3)), "utf-8")
    return path


def test_a_judge_that_cannot_be_reached_is_a_failure_not_a_result(
    flames: Flames, responses: Path, tmp_path: Path
) -> None:
    with endpoint(500) as (url, _):
        judge = ("--scorer", "judge:j", "--base-url", url, "--scorer-option", "retries=0")
        out = tmp_path / "v.jsonl"
        code, _, err = flames("score", responses, *judge, "--out", out)
        assert code == 3
        assert "requests all failed alike: HTTP 500" in err, "in any form of the question"
        plain = ("--scorer-option", "structured=plain")
        code, _, err = flames("score", responses, *judge, *plain, "--out", out)
        assert code == 3
        assert "3 unscored (error 3)" in err
        assert "could not reach what it asks for 3 responses" in err
        lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        assert [(line["score"], line["unscored"]) for line in lines] == [(None, "error")] * 3
        model = "m", "--base-url", url, "--prompts", "quick", "--limit", 5
        code, _, err = flames("run", *model, "--retries", 0, "--out", tmp_path / "run")
        assert code == 3  # the model's own failures


def test_who_points_elsewhere_gets_no_question_and_no_header_there(
    flames: Flames, tmp_path: Path
) -> None:
    with endpoint(200) as (other, seen), endpoint(307, f"{other}/chat/completions") as (url, asked):
        code, _, err = flames(
            "ask", "m", "--base-url", url, "--prompts", "quick", "--limit", 5, "--retries", 0,
            "--header", "X-Own: secret", "--out", tmp_path / "run",
        )  # fmt: skip
        assert code == 3
        assert asked == ["POST secret"]
        assert f"redirects to {other}/chat/completions, which is not followed" in err
        assert seen == []
    kept = (tmp_path / "run" / "responses.jsonl").read_text("utf-8")
    assert '"ok"' not in kept


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_no_failed_check(tmp_path: Path) -> None:
    rows = tmp_path / "v.jsonl"
    verdict = {"dimension": "Safety", "prompt_id": "a", "model": "m", "scorer": "s@1", "score": 3}
    rows.write_text(to_jsonl([verdict]), "utf-8")
    words = [sys.executable, "-m", "flames", "report", str(rows)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 3
    assert done.stderr.decode().count("\n") == 1
    narrow = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert subprocess.run(words, capture_output=True, env=narrow, check=False).returncode == 0
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *words], capture_output=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_links_stay_links_and_pipes_pipes(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert write_atomic(link, "text") == link
    assert link.is_symlink()
    assert (tmp_path / "real").read_text() == "text"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "through")
    reader.join()
    assert read == [b"through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u200b", "\ufeff\x00", "\u2060\u00ad", "\u3164", None]
)
def test_what_nobody_sees_is_no_text(text: str | None) -> None:
    assert not has_visible_text(text)


@pytest.mark.parametrize("text", ["。", "好", " a", "👍", "\u200b1"])
def test_what_somebody_sees_is(text: str) -> None:
    assert has_visible_text(text)


def test_a_bare_command_shows_its_help(flames: Flames) -> None:
    code, _, err = flames("scorer")
    assert code == 2
    assert err.startswith("Usage: flames scorer")
    assert "error:" not in err


def test_a_user_without_a_home_is_told_what_to_set(
    flames: Flames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAMES_HOME", "~nobody-of-this-name/flames")
    code, _, err = flames("prompts", "list")
    assert (code, err.count("\n")) == (2, 1)
    assert "set FLAMES_HOME" in err


def test_a_file_in_the_way_is_one_line_no_traceback(
    flames: Flames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    (tmp_path / ".bashrc").mkdir()
    code, _, err = flames("--install-completion", "bash")
    assert (code, err) == (2, f"flames: error: {tmp_path / '.bashrc'}: Is a directory\n")
