"""A chat endpoint that plays the cases of `tests/models/zoo.jsonl`: shapes reported of providers.

Each case is one line: its name, the `answers` in their order (HTTP status, body and perhaps
headers; the last one again and again), and what is to become of them. `/N/v1/…` plays case N.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "models" / "zoo.jsonl").read_text("utf-8").splitlines()
]


class Zoo:
    """The running server, and what each case was asked: bodies, paths and headers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.bodies: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    def url(self, case: int | str) -> str:
        """The address of a case, by its number or name."""
        if isinstance(case, str):
            case = next(n for n, each in enumerate(CASES) if each["case"] == case)
        return f"http://127.0.0.1:{self.port}/{case}/v1"


@contextmanager
def zoo() -> Iterator[Zoo]:
    """Runs the server in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.zoo = told = Zoo(server.server_port)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        told: Zoo = self.server.zoo  # type: ignore[attr-defined]
        number = int(self.path.split("/")[1])
        asked = told.bodies[number]
        asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        told.paths.append(self.path)
        told.headers.append(dict(self.headers))
        answers = CASES[number]["answers"]
        status, body, *more = answers[min(len(asked), len(answers)) - 1]
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        headers = more[0] if more else {}
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass
