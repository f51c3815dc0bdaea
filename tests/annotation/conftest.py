"""Projects on a real SQLite file and a real PostgreSQL server, and the application served."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("fastapi")

from annotating import Clock, responses, write

from flames.annotation import Plan, Project, create_project

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _server_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        known = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a throw-away PostgreSQL server, without a database."""
    if not BINARIES:
        pytest.skip("needs PostgreSQL (Debian: apt-get install postgresql)")
    who = _server_user()
    folder = Path(tempfile.mkdtemp(prefix="flames-pg-", dir="/tmp"))
    if who:
        os.chown(folder, who["user"], who["group"])
    bare = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, **who}
    data = folder / "data"
    subprocess.run(
        [BINARIES[-1] / "initdb", "-D", data, "-U", "flames", "-A", "trust", "-E", "UTF8",
         "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, **bare,
    )  # fmt: skip
    die_with_us = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    server = subprocess.Popen(
        [*die_with_us, BINARIES[-1] / "postgres", "-D", data, "-k", folder,
         "-c", "listen_addresses=", "-c", "max_connections=120", "-c", "fsync=off",
         "-c", "full_page_writes=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **bare,
    )  # fmt: skip
    assert server.stderr is not None
    for line in server.stderr:
        if "ready to accept connections" in line:
            break
    else:
        pytest.fail("PostgreSQL did not start")
    drain = threading.Thread(target=lambda: [None for _ in server.stderr or ()], daemon=True)
    drain.start()
    yield f"postgresql://flames@/{{name}}?host={folder}"
    server.send_signal(signal.SIGINT)
    server.wait(20)
    drain.join(5)
    server.stderr.close()
    shutil.rmtree(folder, ignore_errors=True)


_numbers = iter(range(1, 10_000))


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The URL of an empty database on it."""
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.format(name="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.format(name=name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Each test that uses it runs on both databases."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


MakeProject = Callable[..., Project]


@pytest.fixture
def make_project(tmp_path: Path, database_url: str | None, clock: Clock) -> Iterator[MakeProject]:
    """Makes a project on the test's database, by default without training and controls."""
    made: list[Project] = []

    def make(rows: list[dict[str, Any]] | None = None, **changes: Any) -> Project:
        source = write(tmp_path / "responses.jsonl", responses() if rows is None else rows)
        plan = Plan(
            sources=[source], database=database_url, training=(), annotators=("Ann", "Bob"),
            adjudicators=("Cat",),
        )  # fmt: skip
        created = create_project(tmp_path / "project", replace(plan, **changes), clock=clock)
        created.project.links = created.links  # type: ignore[attr-defined]
        made.append(created.project)
        return created.project

    yield make
    for project in made:
        project.close()
