"""The judge's endpoint, for tests of whatever asks one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Endpoint:
    """A judge's endpoint on loopback; `asked()` tells the requests since the last call."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._told = 0

    def count(self) -> int:
        with urllib.request.urlopen(self.url.replace("/v1", "/count")) as answer:
            return int(json.load(answer)["count"])

    def asked(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.url.replace("/v1", "/log")) as answer:
            log: list[dict[str, Any]] = json.load(answer)["log"]
        new, self._told = log[self._told :], len(log)
        return new


@contextmanager
def served(*arguments: str) -> Iterator[Endpoint]:
    script = Path(__file__).with_name("judge_server.py")
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        yield Endpoint(int(run.stdout.readline()))
        run.terminate()


@pytest.fixture(scope="module")
def judge_process() -> Iterator[Endpoint]:
    with served() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(judge_process: Endpoint) -> Endpoint:
    judge_process.asked()
    return judge_process


@pytest.fixture
def slow_endpoint() -> Iterator[Endpoint]:
    """One that takes its time, so that there is something to kill in the middle of."""
    with served("0.02") as endpoint:
        yield endpoint
