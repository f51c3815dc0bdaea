"""From a new checkpoint to a decision: the whole daily loop, killed twice on the way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from command import run

from flames.prompts.sets import load_prompts

SAFETY = {prompt.text for prompt in load_prompts("quick").prompts if prompt.dimension == "Safety"}
JUDGED = re.compile(r"<<<回复 \w+>>>\n(.*?)\n<<<回复结束", re.DOTALL)
KEY = re.compile(r"\"(score_[0-9a-f]+)\"")
SECONDS = 120  # more than enough, even on a busy machine


class Endpoint(ThreadingHTTPServer):
    """Models of known behaviour, and a judge of them.

    `step-2000` answers harmfully whatever is about Safety; the others refuse everything. The judge
    gives 1 where a response is harmful, else 3. `at` is called once a model was asked so often.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.at: dict[tuple[str, int], Callable[[], None]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, body: dict[str, Any]) -> str:
        model, text = body["model"], body["messages"][-1]["content"]
        with self._lock:
            self.asked[model] += 1
            due = self.at.pop((model, self.asked[model]), None)
        if due is not None:
            due()
        if model == "judge":
            judged = JUDGED.search(text)
            [key] = set(KEY.findall(body["messages"][0]["content"]))
            score = 1 if judged and "有害" in judged[1] else 3
            return json.dumps({"reason": "按细则", "stance": "refused", key: score})
        bad = model == "step-2000" and text in SAFETY
        return "好的，有害的步骤如下。" if bad else "这样不合适，我不能帮忙。"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Endpoint)
        length = int(self.headers["Content-Length"])
        raw = self.rfile.read(length)
        if len(raw) < length:
            raise ConnectionError  # its client was killed
        body = json.loads(raw)
        message = {"role": "assistant", "content": server.answer(body)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        said = json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # its client was killed
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def endpoints() -> Iterator[tuple[Endpoint, Endpoint]]:
    both = Endpoint(), Endpoint()
    yield both
    for each in both:
        each.shutdown()
        each.server_close()


def study_file(folder: Path, endpoints: tuple[Endpoint, Endpoint], *models: str) -> Path:
    named = ", ".join(
        f'"{name}@{endpoints[position % 2].url}"' for position, name in enumerate(models)
    )
    path = folder / "study.toml"
    path.write_text(
        f'models = [{named}]\nprompts = "quick"\nscorers = ["judge:judge@{endpoints[0].url}"]\n'
        "[defaults]\nconcurrency = 4\n[budget]\nmax_requests = 500\n",
        "utf-8",
    )
    return path


def killed_at(endpoint: Endpoint, model: str, count: int, command: list[str]) -> None:
    """Runs a command that is killed once a model was asked so often."""
    started = threading.Event()
    process: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        started.wait(SECONDS)
        process[0].kill()

    endpoint.at[model, endpoint.asked[model] + count] = kill
    process.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    started.set()
    try:
        assert process[0].wait(SECONDS) == -9
    finally:
        process[0].kill()


def test_the_daily_loop(
    endpoints: tuple[Endpoint, Endpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = endpoints
    out = tmp_path / "nightly"
    old, new, fixed = (out / "runs" / f"step-{n}000" / "quick" for n in (1, 2, 3))

    # study, killed while it asks and again while the judge scores
    file = study_file(tmp_path, endpoints, "step-1000", "step-2000")
    words = ["study", str(file), "--out", str(out), "--lang", "en"]
    command = [sys.executable, "-m", "flames", *words]
    killed_at(second, "step-2000", 9, command)
    killed_at(first, "judge", 20, command)
    assert run(*words) == 0
    assert 24 <= first.asked["step-1000"] <= 24 + 4
    assert 24 <= second.asked["step-2000"] <= 24 + 4
    # the judge is asked once about the same response to the same prompt
    assert 24 + len(SAFETY) <= first.asked["judge"] <= 24 + len(SAFETY) + 4
    for folder in (old, new):
        lines = (folder / "responses.jsonl").read_text("utf-8").splitlines()
        assert len({json.loads(line)["prompt_id"] for line in lines}) == len(lines) == 24

    # reports
    results = json.loads((out / "report.json").read_text("utf-8"))["results"]
    rates = {each["model"]: each["dimensions"]["Safety"]["harmless_rate"] for each in results}
    assert {model: rate["value"] for model, rate in rates.items()} == {
        "step-1000": 100,
        "step-2000": 0,
    }
    assert "step-2000" in (out / "report.html").read_text("utf-8")
    assert run("report", new, "--lang", "en") == 0

    # compare and trend say where it fell
    capsys.readouterr()
    assert run("compare", old, new, "--lang", "en", "--json") == 0
    assert "Safety" in capsys.readouterr().out
    assert run("trend", old, new, "--lang", "en") == 0
    assert "Safety fell between" in " ".join(capsys.readouterr().out.split())

    # the gate fails, the next checkpoint is put right, the gate passes
    rules = ("--against", old, "--max-drop", 2, "--min", "Safety=80")
    assert run("gate", new, *rules) == 1
    study_file(tmp_path, endpoints, "step-1000", "step-2000", "step-3000")
    before = {**first.asked, **second.asked}
    assert run(*words, "--quiet") == 0
    after = {**first.asked, **second.asked}
    assert after == {**before, "step-3000": 24}  # the judge knows these responses
    assert run("gate", fixed, *rules) == 0
    assert run("trend", old, new, fixed, "--format", "html", "--out", tmp_path / "t.html") == 0
