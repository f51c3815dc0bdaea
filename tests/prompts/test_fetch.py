from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flames.errors import InputError, OutsideError, UsageError
from flames.prompts import known as _known
from flames.prompts.card import Card
from flames.prompts.known import KNOWN_SETS, KnownSet, fetch_prompts

CONTENT = b'{"dimension": "Safety", "prompt": "a"}\n'


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        body = {"/good": CONTENT, "/other": b"<html>log in</html>"}.get(self.path, b"")
        # /half promises more than it sends
        self.send_header("Content-Length", str(len(body) + 100 * (self.path == "/half")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    http = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, server: str, tmp_path: Path) -> str:
    """A known set that the loopback server publishes."""
    card = Card(
        name="small",
        version="1",
        licence="l",
        languages=("zh",),
        origin="o",
        url=f"{server}/good",
        counts={"prompts": 1},
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    folder = tmp_path / "cards" / "small"
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(card.to_yaml(), "utf-8")
    monkeypatch.setattr(_known, "KNOWN_SETS", {**KNOWN_SETS, "small": KnownSet(folder)})
    return server


def test_a_set_is_fetched_checked_kept_and_not_fetched_again(
    small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch_prompts("small")
    assert path.read_bytes() == CONTENT
    monkeypatch.setattr(_known, "read_published", None)
    assert fetch_prompts("small") == path


def test_a_damaged_copy_is_fetched_again(small: str) -> None:
    path = fetch_prompts("small")
    path.write_bytes(b"damaged")
    assert fetch_prompts("small").read_bytes() == CONTENT


def test_a_mirror_or_a_local_copy_serves_as_well(small: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(CONTENT)
    assert fetch_prompts("small", f"{small}/good").read_bytes() == CONTENT
    assert fetch_prompts("small", str(copy)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("/missing", "answers HTTP 404"),
        ("/other", "is not the published small file"),
        ("/half", "is not the published small file"),
    ],
)
def test_a_wrong_answer_changes_nothing_and_says_what_to_do(
    small: str, page: str, said: str
) -> None:
    path = fetch_prompts("small")
    with pytest.raises(OutsideError) as caught:
        fetch_prompts("small", small + page)
    assert said in str(caught.value)
    assert "flames prompts fetch small --from FILE" in str(caught.value)
    assert caught.value.exit_code == 3
    assert path.read_bytes() == CONTENT


def test_no_network_says_what_to_do(small: str) -> None:
    for url in ("http://127.0.0.1:9/x", "http://no-such-host.invalid/x", "http://[bad"):
        with pytest.raises(OutsideError, match=r"cannot be reached.*by hand.*--from FILE"):
            fetch_prompts("small", url)


def test_a_wrong_local_file_is_bad_input(small: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"x")
    with pytest.raises(InputError, match="is not the published small file: SHA-256"):
        fetch_prompts("small", str(wrong))
    with pytest.raises(InputError, match="no such file"):
        fetch_prompts("small", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="sets: open, quick, borderline, flames-1k"):
        fetch_prompts("other")
