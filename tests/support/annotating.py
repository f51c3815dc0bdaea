"""What tests of the annotation share: items, a clock, the served application."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from behind_nginx import SharedClock, free_port, nginx, running, two_processes

from flames.storage.atomic import to_jsonl
from flames.taxonomy import default_taxonomy

for _part in ("sqlalchemy alembic argon2 fastapi uvicorn psycopg python_multipart").split():
    pytest.importorskip(_part, reason="needs the extra `annotate`")

if TYPE_CHECKING:
    from flames.annotation import Project

BEHIND = {"nginx": False}  # whether this test's server stands behind nginx (see conftest.py)


# What later migrations added to what the first one made.
AS_THE_FIRST_VERSION = (
    *(
        f"ALTER TABLE people DROP COLUMN {name}"
        for name in ("held", "cleared", "link_until", "link_once", "quota", "guideline")
    ),
    *(
        f"ALTER TABLE items DROP COLUMN {name}"
        for name in ("probability", "added", "batch", "suggestion")
    ),
    *(f"DROP TABLE {name}" for name in ("guidelines", "batches", "comments")),
    "UPDATE alembic_version SET version_num = '0001'",
)


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


def responses(count: int = 12, models: tuple[str, ...] = ("alpha", "beta")) -> list[dict[str, Any]]:
    """Responses of some models over all subcomponents."""
    parts = [(d.name, p.name) for d in default_taxonomy().dimensions for p in d.subcomponents]
    return [
        {
            "prompt_id": f"p{number}",
            "model": model,
            "dimension": parts[number % len(parts)][0],
            "subcomponent": parts[number % len(parts)][1],
            "prompt": f"提问 {number}？",
            "response": f"{'甲乙丙'[models.index(model)]}的回答 {number}。\n第二行。",
        }
        for number in range(count)
        for model in models
    ]


def known(count: int = 6, name: str = "known") -> list[dict[str, Any]]:
    """Items with known answers: the first score of the scale, always."""
    return [
        {**row, "prompt_id": f"{name}{n}", "model": name, "score": 3, "explanation": f"因为 {n}"}
        for n, row in enumerate(responses(count, ("x",)))
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(to_jsonl(rows), "utf-8")
    return path


@contextmanager
def projects(
    folder: Path, clock: Clock, database: str | None = None
) -> Iterator[Callable[..., Project]]:
    """Yields a function that makes a project, by default without training and controls.

    The project's `links` are the tokens of the personal links by name.
    """
    from flames.annotation import ProjectPlan, create_project

    def make(rows: list[dict[str, Any]] | None = None, **changes: Any) -> Project:
        source = write(folder / "responses.jsonl", responses() if rows is None else rows)
        plan = ProjectPlan(
            sources=(source,), database=database, training=(), annotators=("Ann", "Bob"),
            adjudicators=("Cat",),
        )  # fmt: skip
        created = create_project(folder / "project", replace(plan, **changes), clock=clock)
        created.project.links = created.links  # type: ignore[attr-defined]
        return stack.enter_context(created.project)

    with ExitStack() as stack:
        yield make


def label(
    project: Project, name: str, score: Any = 3, *, count: int = 1000, **more: Any
) -> list[Any]:
    """Labels the person's items until there are none left, at most `count`; returns them.

    Args:
        project: The project.
        name: The person.
        score: The score, or a function of the item.
        count: How many to label.
        **more: Passed to `work.answer`.
    """
    from flames.annotation import work

    me, done = person_id(project, name), []
    while len(done) < count and (task := work.current(project, me)) is not None:
        chosen = score(task) if callable(score) else score
        work.answer(project, me, task.ticket, "label", score=chosen, **more)
        done.append(task)
    return done


def person_id(project: Project, name: str) -> int:
    from flames.annotation import people

    with project.database.read() as connection:
        return people.get_person(connection, name).id


def new_clock(folder: Path) -> Any:
    """A clock for a test: in a file of the folder if server processes are to share it."""
    if not BEHIND["nginx"]:
        return Clock()
    clock = SharedClock(folder / "clock")
    clock.now = Clock().now
    return clock


@contextmanager
def served(
    project: Project,
    limits: Any = None,
    *,
    patience: float = 60.0,
    proxies: str | None = None,
    sso_header: str | None = None,
    **options: Any,
) -> Iterator[str]:
    """The application on a free loopback port, in a thread; items settle only if it is asked."""
    from flames.annotation.web.app import create_app
    from flames.annotation.web.server import build_server

    if BEHIND["nginx"]:
        clock: Any = project.clock
        told = {"settle": 0.0, "patience": patience, **options}
        with two_processes(project.path, clock.path, **told) as address:
            yield address
        return
    app: Any = create_app(project, **{"settle": 0.0, **options})
    app.app.state.watch.patience = patience
    server = build_server(app, limits=limits, proxies=proxies, sso_header=sso_header)
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    run = partial(server.run, sockets=[sock])
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


_FIELD = re.compile(r'name="(csrf|ticket|form)" value="([^"]*)"')


class Visitor:
    """Somebody's browser without scripts: follows forms as a page gives them."""

    def __init__(self, base: str, token: str | None = None) -> None:
        import httpx

        self.http = httpx.Client(base_url=base, verify=False, timeout=60)
        self.page = ""
        if token is not None:
            self.enter(token)

    def get(self, path: str) -> int:
        answer = self.http.get(path, follow_redirects=True)
        self.page = answer.text
        return answer.status_code

    def field(self, name: str) -> str:
        return dict(_FIELD.findall(self.page)).get(name, "")

    def post(self, path: str, **fields: str) -> int:
        """Sends a form with the page's own hidden fields; ends on the page it leads to."""
        hidden = dict(_FIELD.findall(self.page))
        answer = self.http.post(path, data={**hidden, **fields}, follow_redirects=True)
        self.page = answer.text
        return answer.status_code

    def enter(self, token: str) -> None:
        assert self.get(f"/join/{token}") == 200
        assert self.post(f"/join/{token}") == 200

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def server_process(folder: Path, *options: str, **env: str) -> Iterator[tuple[Any, str]]:
    """`flames annotate serve` as a process of its own, and its address; items settle at once.

    Behind nginx there are two of them, and the address is that of both.
    """
    if not BEHIND["nginx"]:
        with _one_process(folder, *options, **env) as found:
            yield found
        return
    port, ports = free_port(), [free_port(), free_port()]
    url = f"http://127.0.0.1:{port}/label"
    more = ("--url", url, "--proxies", "127.0.0.1", *options)
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for each in ports:
            started = _one_process(folder, *more, "--port", str(each), **env)
            process, _ = stack.enter_context(started)
        command = nginx(own, port, [f"127.0.0.1:{each}" for each in ports], None)
        stack.enter_context(running(command, port))
        yield process, url


@contextmanager
def _one_process(folder: Path, *options: str, **env: str) -> Iterator[tuple[Any, str]]:
    command = [sys.executable, "-m", "flames", "annotate", "serve", str(folder), "--port", "0",
               "--settle", "0"]  # fmt: skip
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"(https?://\S+)$", line.strip()):
                break
        else:
            raise RuntimeError("the server did not start")
        yield process, found[1]
    finally:
        process.kill()
        process.wait(20)
        process.stderr.close()
