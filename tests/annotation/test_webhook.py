"""Messages about finished items to a real server on loopback."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from annotating import label, responses

from flames.annotation import export, tell_finished, void
from flames.annotation.lead_options import VoidOptions
from flames.annotation.options import WebhookOptions
from flames.errors import OutsideError


class Listener:
    """What a server got; it answers by `statuses`, then 204."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.signed: list[bool] = []
        self.statuses: list[int] = []
        self.url = ""


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setenv("FLAMES_WEBHOOK_SECRET", "s3cret")
    heard = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            right = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
            status = heard.statuses.pop(0) if heard.statuses else 204
            if status < 300:
                heard.messages.append(json.loads(body))
                heard.signed.append(self.headers["x-flames-signature"] == right)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    heard.url = f"http://127.0.0.1:{server.server_port}/labels"
    yield heard
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(make_project: Any) -> Any:
    return make_project(responses(4, ("alpha",)))


def tell(project: Any, listener: Listener) -> int:
    sent: list[int] = []
    options = WebhookOptions(listener.url, once=True)
    tell_finished(project, options, told=sent.append, failed=lambda _: None)
    return sum(sent)


def test_each_finished_item_is_told_once(project: Any, listener: Listener) -> None:
    label(project, "Ann", 3)
    assert tell(project, listener) == 0  # nobody has finished one
    label(project, "Bob", 3, count=3)
    assert tell(project, listener) == 3
    assert tell(project, listener) == 0
    label(project, "Bob", 3)
    assert tell(project, listener) == 1
    assert all(listener.signed)
    lines = {json.loads(line)["item"]: json.loads(line)
             for line in export(project, "adjudicated").text.splitlines()}  # fmt: skip
    assert {m["item"]: m["label"] for m in listener.messages} == lines
    assert {m["event"] for m in listener.messages} == {"finished"}


def test_what_is_open_again_is_told_too(project: Any, listener: Listener) -> None:
    label(project, "Ann", 3)
    label(project, "Bob", 3)
    assert tell(project, listener) == 4
    void(project, "Bob", VoidOptions(reason="test"))
    assert tell(project, listener) == 4
    assert [m["event"] for m in listener.messages[4:]] == ["reopened"] * 4
    assert all(m["label"] is None for m in listener.messages[4:])
    void(project, "Bob", VoidOptions(reason="test", undo=True))
    assert tell(project, listener) == 4


def test_a_failure_loses_and_repeats_nothing(project: Any, listener: Listener) -> None:
    label(project, "Ann", 3)
    label(project, "Bob", 3)
    listener.statuses = [204, 204, 500]
    with pytest.raises(OutsideError, match="answered 500"):
        tell(project, listener)
    assert tell(project, listener) == 2
    assert len({m["item"] for m in listener.messages}) == len(listener.messages) == 4


def test_it_goes_on_after_failures(project: Any, listener: Listener) -> None:
    label(project, "Ann", 3)
    label(project, "Bob", 3)
    listener.statuses = [503, 404]
    failures: list[str] = []

    def told(sent: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell_finished(
            project, WebhookOptions(listener.url, interval=0.1), told=told,
            failed=lambda error: failures.append(str(error)),
        )  # fmt: skip
    assert failures == ["the webhook answered 503", "the webhook answered 404"]
    assert len(listener.messages) == 4


def test_another_address_hears_everything(project: Any, listener: Listener) -> None:
    label(project, "Ann", 3)
    label(project, "Bob", 3)
    assert tell(project, listener) == 4
    listener.url += "/other"
    assert tell(project, listener) == 4


def test_on_the_command_line(make_local: Any, tmp_path: Path, flames: Any) -> None:
    project = make_local(responses(2, ("alpha",)))
    folder = tmp_path / "project"
    label(project, "Ann", 3)
    label(project, "Bob", 3)
    for url in ("nothing", "ftp://x", "http://", "http://["):
        code, _, err = flames("annotate", "webhook", folder, "--url", url)
        assert code == 2
        assert "--url" in err
    code, _, err = flames("annotate", "webhook", folder, "--url", "http://127.0.0.1:9/", "--once")
    assert code == 3
    assert err.count("\n") == 1
    (folder / "webhook.json").write_text("[1")
    code, _, err = flames("annotate", "webhook", folder, "--url", "http://127.0.0.1:9/", "--once")
    assert code == 2
    assert "webhook.json" in err
