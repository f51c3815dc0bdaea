"""A batch interface like OpenAI's that misbehaves on demand, run as a process of its own.

    python batch_server.py STATE

Everything lies in the file STATE, which survives the server. What a line of a batch is answered
with is told by a mark in its prompt, as in `chat_server.py`. `paid` counts the answers of each
prompt at the moment when their batch is created. `PUT /control` sets what is to go wrong:

    end        how batches end: completed, expired, cancelled, failed
    answered   how many lines of an expired or cancelled batch are answered
    silent     lines without an answer are in no file
    looks      how many looks find a batch in progress
    reversed   the output is in another order
    extra      further lines of the output
    errors     why a batch is refused
    content    how downloads are cut, the first one first: cut, half, line, whole
    no_bytes   the length of files is not told
    no_list    nothing is listed
    late       how many lists of batches are empty
    create     what happens to requests to create a batch, the first one first: lose, drop, 500, 429
    rewrite    other contents of files that are there
    rejected   the answer to a request to create a batch, as HTTP status and message

The port is printed on the first line.
"""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from chat_server import FAULTS, FINE, MARK

EMPTY: dict[str, Any] = {
    "files": {},
    "batches": {},
    "paid": {},
    "control": {},
    "log": [],
    "keys": [],
}


class State:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        there = path.exists()
        self.data = json.loads(path.read_text("utf-8")) if there else copy.deepcopy(EMPTY)

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.data), "utf-8")
        os.replace(part, self.path)

    def control(self, name: str, default: Any = None) -> Any:
        return self.data["control"].get(name, default)

    def next(self, name: str) -> str:
        """Takes the next of a list of faults."""
        waiting = self.data["control"].get(name) or [""]
        first, *rest = waiting
        self.data["control"][name] = rest
        return str(first)

    def add_file(self, name: str, content: str) -> str:
        given = f"file-{len(self.data['files']) + 1}"
        self.data["files"][given] = {"filename": name, "content": content}
        return given

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        given = f"batch_{len(self.data['batches']) + 1}"
        content = self.data["files"][asked["input_file_id"]]["content"]
        rows = [json.loads(line) for line in content.splitlines()]
        wrong = list(problems(rows, asked["endpoint"], self.control("limits", {})))
        end = "failed" if wrong or self.control("end") == "failed" else self.control("end")
        batch = {
            "id": given,
            "object": "batch",
            **asked,
            "created_at": 1,
            "end": end or "completed",
            "looks": self.control("looks", 0),
            "output_file_id": None,
            "error_file_id": None,
            "request_counts": {"total": len(rows), "completed": 0, "failed": 0},
            "errors": {"object": "list", "data": wrong or self.control("errors", [])},
        }
        if end != "failed":
            self.process(batch, rows)
        self.data["batches"][given] = batch
        return batch

    def process(self, batch: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        early = batch["end"] in ("expired", "cancelled")
        most = self.control("answered", 0) if early else len(rows)
        good: list[str] = []
        bad: list[str] = []
        for number, row in enumerate(rows):
            text = row["body"]["messages"][-1]["content"]
            if number >= most:
                code = f"batch_{batch['end']}"
                error = {"code": code, "message": "This request could not be executed in time."}
                if not self.control("silent"):
                    bad.append(line(row, None, error))
                continue
            mark = MARK.search(text)
            status, body, _ = FAULTS.get(mark[1] if mark else "", (200, FINE, {}))
            if status == 200:
                self.data["paid"][text] = self.data["paid"].get(text, 0) + 1
                good.append(line(row, (status, json.loads(body)), None))
            else:
                bad.append(line(row, (status, parsed(body)), None))
        counts = {"completed": len(good), "failed": len(bad)}
        batch["request_counts"].update(counts)
        good += [json.dumps(extra) for extra in self.control("extra", [])]
        good = good[::-1] if self.control("reversed") else good
        for name, lines in (("output", good), ("error", bad)):
            if lines:
                content = "".join(each + "\n" for each in lines)
                batch[f"{name}_file_id"] = self.add_file(f"{batch['id']}_{name}.jsonl", content)


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def line(row: dict[str, Any], answer: tuple[int, Any] | None, error: Any) -> str:
    response = None
    if answer is not None:
        response = {"status_code": answer[0], "request_id": "r", "body": answer[1]}
    named = {"id": "batch_req_1", "custom_id": row["custom_id"]}
    return json.dumps({**named, "response": response, "error": error})


def problems(rows: list[dict[str, Any]], url: str, limits: dict[str, int]) -> Iterator[Any]:
    seen: set[str] = set()
    if len(rows) > limits.get("lines", 50_000):
        yield {"code": "too_many_requests", "message": "The file has too many lines", "line": None}
    for number, row in enumerate(rows, 1):
        if row["custom_id"] in seen or not 6 <= len(row["custom_id"]) <= 64:
            yield {"code": "duplicate_custom_id", "message": "bad custom_id", "line": number}
        seen.add(row["custom_id"])
        if row["url"] != url or row["method"] != "POST":
            yield {"code": "mismatched_endpoint", "message": "another url", "line": number}
        if row["body"]["model"] != rows[0]["body"]["model"]:
            yield {"code": "mismatched_model", "message": "another model", "line": number}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        with self.state.lock:
            if self.path == "/v1/reset":
                self.state.data = copy.deepcopy(EMPTY)
            self.state.data["control"] = json.loads(self.body())
            for file, content in self.state.control("rewrite", {}).items():
                self.state.data["files"][file]["content"] = content
            self.state.save()
        self.send({})

    def do_POST(self) -> None:
        body, path = self.body(), self.path.removeprefix("/v1")
        with self.state.lock:
            self.seen(f"POST {path}")
            if path == "/files":
                self.send(self.upload(body))
            elif path == "/batches":
                self.create(json.loads(body))
            else:
                self.send({"error": {"message": "no such path"}}, 404)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path.removeprefix("/v1"), parse_qs(parts.query)
        data = self.state.data
        with self.state.lock:
            if path == "/state":
                self.send(data)
                return
            self.seen(f"GET {path}")
            _, kind, *rest = path.split("/")
            if not rest:
                self.listed(kind, query)
            elif rest[0] not in data[kind]:
                self.send({"error": {"message": f"No such {kind}: {rest[0]}"}}, 404)
            elif kind == "batches":
                self.send(self.shown(data["batches"][rest[0]]))
            elif rest[1:] == ["content"]:
                self.content(data["files"][rest[0]]["content"].encode())
            else:
                self.send(self.file(rest[0]))

    def seen(self, what: str) -> None:
        key = self.headers.get("Authorization", "")
        self.state.data["log"].append(what)
        if key not in self.state.data["keys"]:
            self.state.data["keys"].append(key)
        self.state.save()

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def upload(self, body: bytes) -> dict[str, Any]:
        boundary = re.search(r"boundary=(\S+)", self.headers["Content-Type"])
        assert boundary
        fields: dict[str, tuple[str, bytes]] = {}
        for part in body.split(b"--" + boundary[1].encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]*)"(?:; filename="([^"]*)")?', head)
            assert name
            fields[name[1].decode()] = ((name[2] or b"").decode(), content.removesuffix(b"\r\n"))
        assert fields["purpose"][1] == b"batch"
        name, content = fields["file"]
        given = self.state.add_file(name, content.decode("utf-8"))
        self.state.save()
        return self.file(given)

    def create(self, asked: dict[str, Any]) -> None:
        fault = self.state.next("create")
        if rejected := self.state.control("rejected"):
            self.send({"error": {"message": rejected[1]}}, rejected[0])
        elif fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault in ("429", "500"):
            self.send({"error": {"message": "not now"}}, int(fault))
        else:
            batch = self.state.create(asked)
            self.state.save()
            if fault == "lose":
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.send(self.shown(batch, look=False))

    def shown(self, batch: dict[str, Any], look: bool = True) -> dict[str, Any]:
        waiting = batch["looks"] > 0 or not look
        batch["looks"] -= look and batch["looks"] > 0
        self.state.save()
        if waiting:
            hidden = {"output_file_id": None, "error_file_id": None, "errors": None}
            return {**batch, **hidden, "status": "in_progress"}
        return {**batch, "status": batch["end"]}

    def listed(self, kind: str, query: dict[str, list[str]]) -> None:
        if self.state.control("no_list"):
            self.send({"error": {"message": "no such path"}}, 404)
            return
        names = list(self.state.data[kind])[::-1]
        if kind == "batches" and (late := self.state.control("late", 0)):
            self.state.data["control"]["late"] = late - 1
            names = []
        if after := query.get("after"):
            names = names[names.index(after[0]) + 1 :]
        page = names[: min(int(query["limit"][0]), 2)]  # a short page, so that all are asked for
        batches = self.state.data["batches"]
        rows = [
            self.shown(batches[n], look=False) if kind == "batches" else self.file(n) for n in page
        ]
        self.send({"object": "list", "data": rows, "has_more": len(page) < len(names)})

    def file(self, given: str) -> dict[str, Any]:
        file = self.state.data["files"][given]
        size = None if self.state.control("no_bytes") else len(file["content"].encode())
        return {"id": given, "object": "file", "filename": file["filename"], "bytes": size}

    def content(self, whole: bytes) -> None:
        fault = self.state.next("content")
        self.state.save()
        cut = whole[: len(whole) - 40] if fault in ("cut", "half") else whole
        if fault == "line":
            cut = b"".join(whole.splitlines(keepends=True)[:-1])
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if fault not in ("half", "line"):  # those end with the connection
            self.send_header("Content-Length", str(len(whole)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(cut)
        if fault == "cut":
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def send(self, said: object, status: int = 200) -> None:
        raw = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def main() -> None:
    Handler.state = State(Path(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
