"""The files for proxies: real ones in front of two server processes, under a path."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotating import Visitor, server_process
from behind_nginx import DEPLOY, NGINX, free_port, nginx, running

from flames.annotation import open_project, verify

CADDY = shutil.which("caddy")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path


@pytest.mark.skipif(NGINX is None, reason="needs nginx")
def test_nginx_before_two_processes(tmp_path: Path, make_local: Any, certificate: Path) -> None:
    project = make_local()
    links = project.links
    port = free_port()
    url = f"https://127.0.0.1:{port}/label"
    options = ("--url", url, "--proxies", "127.0.0.1")
    folder = tmp_path / "nginx"
    folder.mkdir()
    with (
        behind(tmp_path / "project", options) as one,
        behind(tmp_path / "project", options) as two,
        running(nginx(folder, port, [one, two], certificate), port),
    ):
        with Visitor(url, links["Ann"]) as ann, Visitor(url, links["lead"]) as lead:
            for _ in range(6):
                ann.get("/work")
                assert ann.post("/work", do="3") == 200
            assert lead.get("/lead") == 200
            assert lead.get("/lead/export?what=all") == 200
            assert lead.page.count("\n") == 6
            for asset in re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js|svg))"', ann.page):
                assert ann.http.get(f"https://127.0.0.1:{port}{asset}").status_code == 200
            cookies = [c for c in ann.http.cookies.jar if "session" in c.name]
            assert [(c.path, c.secure) for c in cookies] == [("/label", True)]
            large = ann.http.post("/work", content=b"x" * 300_000)
            assert large.status_code == 413
        bare = httpx.get(f"https://127.0.0.1:{port}/label", verify=False)
        assert bare.status_code == 301
    logged = "".join(f.read_text() for f in folder.glob("*.log"))
    assert "/label/work" in logged
    for token in links.values():
        assert token not in logged
    with open_project(tmp_path / "project") as after:
        assert verify(after).labels == 6
        assert verify(after).problems == ()


@contextmanager
def behind(folder: Path, options: tuple[str, ...]) -> Iterator[str]:
    """A process that is to stand behind a proxy: its address on this machine."""
    port = free_port()
    with server_process(folder, *options, "--port", str(port)):
        yield f"127.0.0.1:{port}"


@pytest.mark.skipif(CADDY is None, reason="needs caddy")
def test_caddy_before_two_processes(tmp_path: Path, make_local: Any) -> None:
    links = make_local().links
    port = free_port()
    url = f"http://127.0.0.1:{port}/label"
    options = ("--url", url, "--proxies", "127.0.0.1")
    with (
        behind(tmp_path / "project", options) as one,
        behind(tmp_path / "project", options) as two,
    ):
        text = (DEPLOY / "Caddyfile").read_text("utf-8")
        text = text.replace("127.0.0.1:8400", one).replace("127.0.0.1:8401", two)
        text = text.replace("example.org {", f"http://127.0.0.1:{port} {{")
        text = text.replace("{\n\tservers", "{\n\tadmin off\n\tservers", 1)
        file = tmp_path / "Caddyfile"
        file.write_text(text)
        command = [str(CADDY), "run", "--config", str(file)]
        with running(command, port), Visitor(url, links["Ann"]) as ann:
            for _ in range(4):
                ann.get("/work")
                assert ann.post("/work", do="3") == 200
            # Caddy itself ends the body: it says 502 where it had begun to pass it on, and may cut
            # off the text of a 413 with it, so only the status is read
            with ann.http.stream("POST", "/work", content=b"x" * 300_000) as large:
                assert large.status_code in (413, 502)
            assert ann.get("/work") == 200
    with open_project(tmp_path / "project") as after:
        assert verify(after).labels == 4


def test_the_unit_starts_the_command_that_there_is(flames: Any) -> None:
    unit = (DEPLOY / "flames-annotate@.service").read_text("utf-8")
    [words] = re.findall(r"^ExecStart=\S+/flames (.+)$", unit, re.MULTILINE)
    given = words.replace("%i", "0").split()
    code, _, err = flames(*given)  # all is well but the project, which is not here
    assert code == 2
    assert "is not an annotation project" in err
