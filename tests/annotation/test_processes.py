"""Several processes on one port: all serve, the killed are replaced, none outlives the first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotating import BEHIND, Visitor, server_process

from flames.annotation import open_project, verify
from flames.annotation.web.processes import run_processes
from flames.errors import OutsideError


def children(process: int) -> set[int]:
    return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def soon(condition: Callable[[], Any]) -> Any:
    """Waits until something holds that other processes bring about."""
    until = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < until, "it never came"
        os.sched_yield()
    return found


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").text == "ok\n"
    except httpx.TransportError:
        return False


@pytest.fixture
def links(tmp_path: Path, make_local: Any) -> dict[str, str]:
    if BEHIND["nginx"]:
        pytest.skip("starts its own processes")
    found: dict[str, str] = make_local().links
    return found


@contextmanager
def two_processes(folder: Path) -> Iterator[tuple[Any, str, set[int]]]:
    """Serves a project with two processes; yields the server, its address and the two."""
    with server_process(folder, "--processes", "2") as (server, url):
        both = soon(lambda: len(children(server.pid)) == 2 and children(server.pid))
        soon(lambda: healthy(url))
        yield server, url, both


def test_two_processes_share_a_project(tmp_path: Path, links: dict[str, str]) -> None:
    with two_processes(tmp_path / "project") as (server, url, first):
        for killed in first:  # whichever of them serves whom, both go
            with Visitor(url, links["Ann"]) as ann, Visitor(url, links["Bob"]) as bob:
                for visitor in (ann, bob):
                    visitor.get("/work")
                    assert visitor.post("/work", do="3") == 200
            soon(lambda: healthy(url))
            os.kill(killed, signal.SIGKILL)
            soon(lambda k=killed: k not in children(server.pid) and len(children(server.pid)) == 2)
            soon(lambda: healthy(url))
        last = children(server.pid)
        assert not first & last
        server.terminate()
        assert server.wait(20) == -signal.SIGTERM
        assert all(map(gone, last))
    with open_project(tmp_path / "project") as project:
        assert verify(project).labels == 4
        assert verify(project).problems == ()


def held(process: int) -> int:
    """Counts the open sockets of a process: on SQLite its clients' and a few of its own."""
    found = 0
    for file in Path(f"/proc/{process}/fd").iterdir():
        try:
            found += os.readlink(file).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def connect(url: str, count: int, clients: ExitStack) -> None:
    """Opens connections that stay open, each with an answered request."""
    for _ in range(count):
        client = clients.enter_context(httpx.Client(base_url=url, verify=False, timeout=60))
        assert client.get("/health").text == "ok\n"


def test_processes_hold_equally_many_connections(tmp_path: Path, links: dict[str, str]) -> None:
    with two_processes(tmp_path / "project") as (server, url, both), ExitStack() as clients:
        own = min(map(held, both))
        connect(url, 40, clients)
        one, other = both
        assert abs(held(one) - held(other)) <= 6  # a few may be taken out of turn
        os.kill(one, signal.SIGKILL)
        [new] = soon(lambda: children(server.pid) - both)
        soon(lambda: connect(url, 1, clients) or held(new) > own + 1)
        connect(url, held(other) - held(new), clients)  # first those that it lacks
        assert abs(held(new) - held(other)) <= 6


def test_a_stuck_process_holds_up_no_connection(tmp_path: Path, links: dict[str, str]) -> None:
    with two_processes(tmp_path / "project") as (server, url, both), ExitStack() as clients:
        connect(url, 4, clients)
        stuck = min(both)
        os.kill(stuck, signal.SIGSTOP)
        try:
            connect(url, 20, clients)
        finally:
            os.kill(stuck, signal.SIGCONT)
        connect(url, 10, clients)
        server.terminate()
        assert server.wait(20) == -signal.SIGTERM


def test_no_process_outlives_the_first(tmp_path: Path, links: dict[str, str]) -> None:
    with two_processes(tmp_path / "project") as (server, url, started):
        server.kill()
        server.wait(20)
        soon(lambda: all(map(gone, started)))
        assert not healthy(url)


def test_what_ends_at_once_is_not_started_again() -> None:
    with pytest.raises(OutsideError, match=r"ended \(exit code 0\) as soon as it had started"):
        run_processes(2, lambda place: None)
