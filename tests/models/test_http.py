"""Proxies, certificates and other programs' variables, against servers on this machine."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from flames.errors import UsageError
from flames.models.base import EndpointUnusable, Message, Reply, Sampling
from flames.models.http import is_loopback
from flames.models.load import ModelOptions, load_model
from flames.models.providers import PRESETS

BODY = b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server that answers everything, its port and the headers that it was sent."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(spec: str, **options: Any) -> Reply:
    async def once() -> Reply:
        model = load_model(spec, ModelOptions(**options))
        try:
            return await model.ask([Message("user", "x")], Sampling())
        finally:
            await model.aclose()

    return asyncio.run(once())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0"])
def test_this_machine_is_reached_without_the_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with listening() as (port, _):
        assert ask("m", base_url=f"http://{host}:{port}/v1").text == "hi"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://api.localhost", True),
        ("http://LOCALHOST.", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8000", True),
        ("http://[::]:8000", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://0.0.0.0:8000", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("http://example.com", False),
    ],
)
def test_addresses_of_this_machine_are_known(url: str, local: bool) -> None:
    assert is_loopback(url) is local


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(made)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return made, key


def test_a_private_certificate_counts_for_this_machine_too(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with listening(context) as (port, _):
        url = f"https://localhost:{port}/v1"
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            ask("m", base_url=url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert ask("m", base_url=url).text == "hi"


def test_a_socks_proxy_names_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)  # as if it were not installed
    with pytest.raises(EndpointUnusable, match="pip install socksio"):
        ask("m", base_url="http://x.invalid/v1")


OTHERS = {
    "OPENAI_CUSTOM_HEADERS": "X-Team: secret\nAuthorization: Bearer theirs\nX-Mine: theirs",
    "OPENAI_ORG_ID": "org-secret",
    "OPENAI_PROJECT_ID": "project-secret",
    "OPENAI_ADMIN_KEY": "admin-secret",
    "OPENAI_API_KEY": "openai-secret",
}


@pytest.mark.parametrize("spec", ["m", "moonshot/m"])
def test_nothing_that_is_meant_for_openai_reaches_another_provider(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MOONSHOT_API_KEY", "mine")
    with listening() as (port, asked):
        url = f"http://127.0.0.1:{port}/v1"
        key = "MOONSHOT_API_KEY" if spec == "m" else None
        if spec == "m":
            ask(spec, base_url=url, api_key_env=key, headers={"X-Mine": "ours"})
        else:
            monkeypatch.setitem(PRESETS, "moonshot", replace(PRESETS["moonshot"], base_url=url))
            ask(spec, headers={"X-Mine": "ours"})
    [sent] = asked
    assert (sent["authorization"], sent["x-mine"]) == ("Bearer mine", "ours")
    assert not [value for value in sent.values() if "secret" in value or "theirs" in value]
    assert "x-team" not in sent


def test_openai_is_asked_where_and_as_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: ours")
    with listening() as (port, asked):
        url = f"http://127.0.0.1:{port}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert ask("openai/gpt").text == "hi"
        assert load_model("openai/gpt").describe()["base_url"] == url
    [sent] = asked
    assert sent["authorization"] == "Bearer openai-secret"
    assert (sent["x-team"], sent["openai-organization"]) == ("ours", "org-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "api.openai.com")
    with pytest.raises(UsageError, match="OPENAI_BASE_URL takes an address"):
        load_model("openai/gpt")
