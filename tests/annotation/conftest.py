"""Projects on a real SQLite file and a real PostgreSQL server, and the application served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from postgres_server import NoServerError, throw_away_server

if TYPE_CHECKING:
    from annotating import Clock

    from flames.annotation import Project


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a throw-away PostgreSQL server, without a database."""
    server = throw_away_server()
    try:
        address = server.__enter__()
    except NoServerError as error:
        pytest.skip(str(error))
    yield address
    server.__exit__(None, None, None)


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
    from annotating import Clock

    return Clock()


MakeProject = Callable[..., "Project"]


@pytest.fixture
def make_project(tmp_path: Path, database_url: str | None, clock: Clock) -> Iterator[MakeProject]:
    """Makes a project on the test's database, by default without training and controls."""
    from annotating import responses, write

    from flames.annotation import ProjectPlan, create_project

    made: list[Project] = []

    def make(rows: list[dict[str, Any]] | None = None, **changes: Any) -> Project:
        source = write(tmp_path / "responses.jsonl", responses() if rows is None else rows)
        plan = ProjectPlan(
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


@pytest.fixture
def flames(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `flames WORD …`: exit code, standard output, standard error."""
    from flames.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run
