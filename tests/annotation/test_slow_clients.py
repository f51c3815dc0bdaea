"""Clients that send slowly, too much, or too often: the server answers the others."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotating import Visitor, served, server_process

from flames.annotation.web.guard import MAX_BODY
from flames.annotation.web.server import Limits

HALF = b"POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
BRIEF = Limits(head=0.2, body=0.2, linger=0.2, response=0.2)


def connect(base: str, sent: bytes = b"") -> socket.socket:
    host, port = base.split("//")[1].split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    sock.sendall(sent)
    return sock


def answer(sock: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets this process (not the server) hold 1,300 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("needs 2,048 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("sent", [HALF, HALF + b"\r\nabc", b""], ids=["head", "body", "nothing"])
def test_half_sent_requests_keep_nobody_out(sent: bytes, tmp_path: Path, make_local: Any) -> None:
    token = make_local().links["Ann"]
    with ExitStack() as stack:
        process, base = stack.enter_context(server_process(tmp_path / "project"))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        ann = stack.enter_context(Visitor(base, token))
        for number in range(1100):
            stack.enter_context(closing(connect(base, sent)))
            if number % 100 == 99:  # she goes on, and a stranger comes
                assert ann.get("/work") == 200
                assert ann.field("ticket")
                assert httpx.get(f"{base}/health", timeout=30).text == "ok\n"
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < 600
        process.terminate()
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("sent", "status"),
    [(HALF, b"408"), (HALF + b"\r\nabc", b"408"), (b"", b""), (b"GET /health HTTP", b"408")],
)
def test_a_request_has_its_time(make_local: Any, sent: bytes, status: bytes) -> None:
    with served(make_local(), BRIEF) as base, closing(connect(base, sent)) as slow:
        assert answer(slow).partition(b"\r\n")[0].startswith(status and b"HTTP/1.1 " + status)


def test_dripping_does_not_extend_it(make_local: Any) -> None:
    with served(make_local(), BRIEF) as base, closing(connect(base, HALF)) as slow:
        slow.settimeout(0.01)
        for _ in range(3000):
            try:
                slow.sendall(b"X-More: x\r\n")
                if slow.recv(100):
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
        pytest.fail("the connection stays open")


def test_a_client_that_does_not_read_loses_its_connection(make_local: Any) -> None:
    with served(make_local(), BRIEF) as base, closing(connect(base)) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        request = b"GET /static/base.css HTTP/1.1\r\nHost: x\r\n\r\n"
        with pytest.raises((ConnectionError, TimeoutError)):
            greedy.sendall(request * 100_000)


def test_one_address_holds_so_many_connections(make_local: Any) -> None:
    limits = Limits(per_address=3)
    with ExitStack() as stack, served(make_local(), limits) as base:
        held = [stack.enter_context(closing(connect(base, HALF))) for _ in range(3)]
        for sock in held:  # the server knows each: it would refuse a wrong line
            sock.sendall(b"X-A: b\r\n")
        assert httpx.get(f"{base}/health", timeout=30).text == "ok\n"
        assert b" 408 " in answer(held[0])
        held[2].sendall(b"\r\nabcde")  # the others go on
        assert held[2].recv(100).startswith(b"HTTP/1.1 403")


def chunks(total: int) -> Iterator[bytes]:
    for _ in range(total // 65536):
        yield b"10000\r\n" + b"x" * 65536 + b"\r\n"


@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"], ids=["chunked", "both"])
@pytest.mark.parametrize("kind", [b"application/x-www-form-urlencoded",
                                  b"multipart/form-data; boundary=b"])  # fmt: skip
def test_a_body_of_another_length_than_declared_is_cut_off(
    tmp_path: Path, make_local: Any, length: bytes, kind: bytes
) -> None:
    make_local()
    folder = tmp_path / "tmp"
    folder.mkdir()
    head = (
        b"POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        + length
        + b"Content-Type: "
        + kind
        + b"\r\n\r\n"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    with server_process(tmp_path / "project", TMPDIR=str(folder)) as (process, base):
        with closing(connect(base, head + b"%x\r\n%s\r\n" % (len(part), part))) as sender:
            try:
                for chunk in chunks(64 << 20):
                    sender.sendall(chunk)
            except ConnectionError:
                pass
            else:
                pytest.fail("64 MB were taken")
        assert httpx.get(f"{base}/health", timeout=30).text == "ok\n"
        open_files = [os.path.realpath(f) for f in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert [name for name in open_files if str(folder) in name] == []
    assert list(folder.iterdir()) == []


def test_a_body_that_is_larger_than_declared_is_not_read(make_local: Any) -> None:
    with served(make_local()) as base, closing(connect(base)) as sender:
        sender.sendall(HALF + b"\r\n" + b"x" * 5 + b"GET /health HTTP/1.1\r\nHost: x\r\n"
                       b"Connection: close\r\n\r\n")  # fmt: skip
        said = answer(sender)
    assert said.count(b"HTTP/1.1 ") == 2  # five bytes were the body, the rest a request
    assert said.endswith(b"ok\n")


def test_as_much_as_allowed_is_read(make_local: Any) -> None:
    with served(make_local()) as base:
        for length, status in ((MAX_BODY, 403), (MAX_BODY + 1, 413)):
            form = b"form=" + b"x" * (length - 5)
            headers = {"content-type": "application/x-www-form-urlencoded"}
            got = httpx.post(f"{base}/signin", content=form, headers=headers, timeout=60)
            assert got.status_code == status


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
             cert],
            check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs openssl")
    return cert, key


def test_over_tls_too(tmp_path: Path, make_local: Any, certificate: tuple[Path, Path]) -> None:
    token = make_local().links["Ann"]
    cert, key = certificate
    options = ("--certificate", str(cert), "--key", str(key))
    with ExitStack() as stack:
        _, base = stack.enter_context(server_process(tmp_path / "project", *options))
        assert base.startswith("https://")
        for _ in range(300):  # more than one address may hold, all before the handshake
            stack.enter_context(closing(connect(base)))
        ann = stack.enter_context(Visitor(base, token))
        assert ann.get("/work") == 200
        assert [n for n in ann.http.cookies if n.startswith("__Host-flames_session_")]
        context = ssl.create_default_context(cafile=str(cert))
        with context.wrap_socket(connect(base), server_hostname="127.0.0.1") as half:
            half.sendall(HALF)
            assert ann.get("/work") == 200
        with closing(connect(base, b"GET / HTTP/1.1\r\n\r\n")) as plain:
            answer(plain)
        assert ann.get("/work") == 200


def test_a_certificate_that_is_none(tmp_path: Path, make_local: Any, flames: Any) -> None:
    make_local()
    (tmp_path / "cert.pem").write_text("nothing")
    for name in ("cert.pem", "missing.pem"):
        code, _, err = flames("annotate", "serve", tmp_path / "project", "--port", 0,
                              "--certificate", tmp_path / name)  # fmt: skip
        assert code == 2
        assert err.count("\n") == 1
        assert name in err
