"""What the whole suite shares.

Tests that need something a machine may lack skip, visibly. `FLAMES_NO_SKIP=1` (set by CI, which
installs everything) turns every skip into a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

settings.register_profile("flames", deadline=None)  # a busy machine is no error
settings.load_profile("flames")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started by a shell in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else commands would ignore it, too


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if report.skipped and os.environ.get("FLAMES_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skips are forbidden here: {report.longrepr[2]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report: Any = yield
    if report.skipped and os.environ.get("FLAMES_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skips are forbidden here: {report.longrepr[2]}"
    return report


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, nor sees the user's keys or language."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("FLAMES_HOME", str(tmp_path_factory.mktemp("home")))
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_TOKEN")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party data, where it is there."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data, which this machine does not have")
    return SHARED


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; no longer than a module, as no other event loop can run beside it."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; any console error or uncaught exception fails the test."""
    context = browser.new_context()
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield tab
    context.close()
    assert not errors, errors


class ChatServer:
    """A chat endpoint that misbehaves on demand (tests/support/chat_server.py), as a process."""

    def __init__(self, delay: float = 0.0, port: int = 0) -> None:
        script = Path(__file__).parent / "support" / "chat_server.py"
        command = [sys.executable, str(script), str(delay), str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def told(self) -> dict[str, Any]:
        """What was asked (`log`) and how many requests were under way at once (`most`)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log") as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def chat_server() -> Iterator[Callable[..., ChatServer]]:
    """Starts chat endpoints: `chat_server(delay=0.0, port=0)`."""
    servers: list[ChatServer] = []

    def start(delay: float = 0.0, port: int = 0) -> ChatServer:
        servers.append(ChatServer(delay, port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
