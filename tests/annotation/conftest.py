"""Projects on a real SQLite file and a real PostgreSQL server, and the application served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import behind_nginx
import pytest
from command import run
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


@pytest.fixture(autouse=True)
def behind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Puts the server of a test with a browser behind nginx, with FLAMES_TEST_BEHIND=nginx."""
    wanted = behind_nginx.WANTED and request.node.get_closest_marker("chromium") is not None
    if wanted:
        from annotating import BEHIND

        monkeypatch.setitem(BEHIND, "nginx", True)
    return wanted


@pytest.fixture
def clock(tmp_path: Path, behind: bool) -> Clock:
    from annotating import new_clock

    made: Clock = new_clock(tmp_path)
    return made


@pytest.fixture
def make_project(tmp_path: Path, database_url: str | None, clock: Clock) -> Iterator[Any]:
    """Makes projects on the test's database (see `annotating.projects`)."""
    from annotating import projects

    with projects(tmp_path, clock, database_url) as make:
        yield make


@pytest.fixture
def make_local(tmp_path: Path, clock: Clock) -> Iterator[Any]:
    """Makes projects on SQLite alone (see `annotating.projects`)."""
    from annotating import projects

    with projects(tmp_path, clock) as make:
        yield make


@pytest.fixture
def project(tmp_path: Path, make_local: Any) -> Project:
    """Twelve responses of one model, with controls among them."""
    from annotating import known, responses, write

    controls = write(tmp_path / "controls.jsonl", known(4, "control-model"))
    made: Project = make_local(
        responses(12, ("secret-model-1",)), controls=(controls,), control_rate=0.5
    )
    return made


@pytest.fixture
def base(project: Project) -> Iterator[str]:
    """The address at which it is served."""
    from annotating import served

    with served(project) as address:
        yield address


@pytest.fixture
def flames(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `flames WORD …`: exit code, standard output, standard error."""

    def captured(*words: object) -> tuple[int, str, str]:
        code = run(*words)
        return code, *capsys.readouterr()

    return captured
