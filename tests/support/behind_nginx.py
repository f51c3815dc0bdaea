"""The application as users of the shipped nginx file have it: two processes under `/label/`.

With `FLAMES_TEST_BEHIND=nginx` the tests of pages in a browser get this instead of one server on
its own. Time is still what the clock of the test says, in every process.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
WANTED = os.environ.get("FLAMES_TEST_BEHIND") == "nginx"


class SharedClock:
    """A clock in a file: tests and server processes move the same one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _change(self, **step: float) -> datetime:
        with self.path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            now = datetime.fromisoformat(file.read()) + timedelta(**step)
            file.seek(0)
            file.write(now.isoformat(timespec="microseconds"))
        return now

    def __call__(self) -> datetime:
        return self._change(milliseconds=1)

    @property
    def now(self) -> datetime:
        return self._change()

    @now.setter
    def now(self, moment: datetime) -> None:
        self.path.write_text(moment.isoformat(timespec="microseconds"))

    def pass_(self, **span: float) -> None:
        self._change(**span)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        port: int = sock.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], port: int, **options: Any) -> Iterator[None]:
    """A program, from when it listens on a port until the block ends."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
    try:
        for _ in range(6000):
            if listens(port):
                break
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            assert process.stderr is not None
            pytest.fail(process.stderr.read())
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def nginx(folder: Path, port: int, backends: list[str], certificate: Path | None) -> list[str]:
    """The shipped file with the test's ports, certificate and log; plain HTTP without one."""
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for number, backend in zip((8400, 8401), backends, strict=True):
        assert f"127.0.0.1:{number}" in text
        text = text.replace(f"127.0.0.1:{number}", backend)
    if certificate is None:
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        lines = text.splitlines()
        text = "\n".join(line for line in lines if "ssl_certificate" not in line)
    else:
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
        text = text.replace("/etc/ssl/example.org.pem", str(certificate / "cert.pem"))
        text = text.replace("/etc/ssl/example.org.key", str(certificate / "key.pem"))
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; worker_processes 1; user root;\n"
        f"error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log {folder}/access.log;\n{paths}{text}\n}}\n"
    )
    return [str(NGINX), "-e", f"{folder}/error.log", "-c", str(config)]


@contextmanager
def two_processes(folder: Path, clock: Path, **options: Any) -> Iterator[str]:
    """Two server processes of a project behind nginx: the address of both."""
    if NGINX is None:
        pytest.skip("needs nginx")
    port, ports = free_port(), [free_port(), free_port()]
    url = f"http://127.0.0.1:{port}/label"
    told = {"folder": str(folder), "clock": str(clock), "public_url": url, **options}
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for each in ports:
            given = json.dumps({**told, "port": each})
            stack.enter_context(running([sys.executable, __file__, given], each))
        command = nginx(own, port, [f"127.0.0.1:{each}" for each in ports], None)
        stack.enter_context(running(command, port))
        yield url


def main() -> None:
    """Serves as `annotating.served` does, in a process of its own."""
    from flames.annotation import open_project
    from flames.annotation.web.app import create_app
    from flames.annotation.web.server import build_server

    told = json.loads(sys.argv[1])
    folder, clock = Path(told.pop("folder")), SharedClock(Path(told.pop("clock")))
    port, patience = told.pop("port"), told.pop("patience")
    with open_project(folder, clock=clock) as project:
        app: Any = create_app(project, **told)
        app.app.state.watch.patience = patience
        server = build_server(app, proxies="127.0.0.1")
        sock = socket.create_server(("127.0.0.1", port), backlog=2048)
        server.run(sockets=[sock])


if __name__ == "__main__":
    main()
