"""A model hub on loopback: what the hub's client asks to fetch and to push a repository."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(\w+)/.*)?")


class Hub:
    """Repositories by name, files by path, and what was fetched of them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.fetched: list[str] = []

    def add(self, name: str, folder: Path) -> None:
        self.repositories[name] = {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that is empty at first."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = hub = Hub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.repositories.setdefault(name, {})
            self.say({"url": f"{hub.url}/{name}"})
        elif path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [file["path"] for file in json.loads(body)["files"]]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self.say({"files": [{"path": file, **mode} for file in files]})
        elif (found := _API.fullmatch(path)) and found[2] == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    file = line["value"]
                    content = base64.b64decode(file["content"])
                    hub.repositories[found[1]][file["path"]] = content
            self.say({"commitUrl": f"{hub.url}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.say({"error": "not found"}, 404)

    def answer(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        path = unquote(urlsplit(self.path).path)
        if (found := _FILE.fullmatch(path)) and found[1] in hub.repositories:
            content = hub.repositories[found[1]].get(found[2])
            if content is None:
                self.say({"error": "no such file"}, 404, {"X-Error-Code": "EntryNotFound"})
                return
            if self.command == "GET":
                hub.fetched.append(found[2])
            tag = hashlib.sha256(content).hexdigest()
            self.send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        elif (found := _API.fullmatch(path)) and found[1] in hub.repositories:
            files = hub.repositories[found[1]]
            if found[2] == "tree":
                self.say([_entry(name, content) for name, content in files.items()])
                return
            info = {"id": found[1], "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]}
            self.say({**info, "private": False, "tags": [], "downloads": 0, "likes": 0})
        else:
            self.say({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def say(self, data: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        json_type = {"Content-Type": "application/json", **(headers or {})}
        self.send(code, json.dumps(data).encode(), json_type)

    def send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _entry(name: str, content: bytes) -> dict[str, object]:
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}
