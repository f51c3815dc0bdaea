"""A project: a folder that names its database, and the settings fixed when it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.engine import URL

from flames.annotation import events as _events
from flames.annotation.database import Database, parse_url, sqlite_url
from flames.annotation.options import DEFAULT_URL, checked_url
from flames.annotation.schema import settings as settings_table
from flames.errors import InputError, UsageError
from flames.storage.atomic import write_atomic
from flames.taxonomy import Language, Taxonomy

PROJECT_FILE = "project.json"
DATABASE_FILE = "labels.db"
DATABASE_VARIABLE = "FLAMES_ANNOTATE_DATABASE"


class SourceFile(BaseModel):
    """Where responses came from; those `without_text` (of response or prompt) were left out."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    responses: int
    without_text: int


class ProjectSettings(BaseModel):
    """What was fixed when the project was made.

    `population` counts the responses with text that could have been drawn, `without_text` those
    that hold nothing to judge (blocked, empty, failed) and were left out. `lease_minutes` is how
    long an item stays with somebody who does not answer.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    name: str
    created: str
    seed: int
    per_item: int
    sample: int | None
    stratify: tuple[str, ...]
    control_rate: float
    lease_minutes: float
    lang: Language
    taxonomy: Taxonomy
    sources: tuple[SourceFile, ...]
    population: int
    without_text: int
    items_sha256: str


class Project:
    """An open project.

    Args:
        path: Its folder.
        database: Its database, already up to date.
        clock: Tells the time.
    """

    def __init__(
        self, path: Path, database: Database, clock: Callable[[], datetime] = _events.now
    ) -> None:
        self.path = path
        self.database = database
        self.clock = clock

    @cached_property
    def settings(self) -> ProjectSettings:
        """What was fixed when the project was made."""
        found = stored_settings(self.database)
        if found is None:
            raise InputError(
                "has no project in its database; was `flames annotate init` cut short? "
                "Run it again",
                path=self.path,
            )
        return found

    @property
    def taxonomy(self) -> Taxonomy:
        """The values that labels are judged by."""
        return self.settings.taxonomy

    @property
    def public_url(self) -> str | None:
        """How people reach the server, if that was said when the project was made."""
        url = _noted(self.path).get("url")
        return None if url is None else str(url)

    def link(self, token: str, url: str | None = None) -> str:
        """A personal link; `url` is the server's public address if it is not the project's."""
        base = self.public_url or DEFAULT_URL if url is None else checked_url(url)
        return f"{base}/join/{token}"

    def close(self) -> None:
        """Closes the database."""
        self.database.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stored_settings(database: Database) -> ProjectSettings | None:
    """The settings that the database holds, if a project was made in it."""
    with database.read() as connection:
        text = connection.execute(
            select(settings_table.c.value).where(settings_table.c.name == "project")
        ).scalar_one_or_none()
    return None if text is None else ProjectSettings.model_validate_json(text)


def open_project(
    path: str | os.PathLike[str], *, clock: Callable[[], datetime] = _events.now
) -> Project:
    """Opens a project, its database brought up to date.

    Args:
        path: The folder that `init` made. The environment variable `FLAMES_ANNOTATE_DATABASE`
            replaces the database that it names (to add a password, say).
        clock: Tells the time.

    Raises:
        InputError: The folder is no project.
        UsageError: Its database was made by a newer version.
        OutsideError: Its database cannot be reached.
    """
    folder = Path(path)
    url = _database_url(folder)
    database = Database(url)
    if database.sqlite and not Path(str(database.url.database)).exists():
        raise InputError(f"its database {DATABASE_FILE} is missing", path=folder)
    project = Project(folder, database, clock)
    with closed_on_failure(database):
        database.migrate()
        _ = project.settings
    return project


@contextmanager
def closed_on_failure(database: Database) -> Iterator[None]:
    """Closes the database where the block fails."""
    try:
        yield
    except BaseException:
        database.close()
        raise


def _noted(folder: Path) -> dict[str, Any]:
    """What the folder's file says of the project."""
    file = folder / PROJECT_FILE
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return {**data, "database": str(data["database"])}
    except FileNotFoundError:
        raise InputError(
            "is no annotation project; `flames annotate init` makes one", path=folder
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from None
    except (ValueError, KeyError, TypeError):
        raise InputError("is damaged: it must name a `database`", path=file) from None


def _database_url(folder: Path) -> URL:
    named: str = _noted(folder)["database"]
    if chosen := os.environ.get(DATABASE_VARIABLE):
        return parse_url(chosen)
    return sqlite_url(folder / DATABASE_FILE) if named == DATABASE_FILE else parse_url(named)


def prepare_database(folder: Path, url: str | None, public_url: str | None) -> Database:
    """The database of a project that is about to be made; its place is noted in the folder, and
    how people reach the server.

    A password in the URL is not written down: it is to be found in `FLAMES_ANNOTATE_DATABASE`,
    `PGPASSWORD` or a `.pgpass` file when the project is opened.

    Raises:
        UsageError: The folder or the database holds a project already.
    """
    chosen = os.environ.get(DATABASE_VARIABLE) or url
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a project is a folder")
    noted = DATABASE_FILE
    target = sqlite_url(folder / DATABASE_FILE)
    if chosen is not None:
        target = parse_url(chosen)
        noted = _without_password(target).render_as_string(hide_password=False)
    if (folder / PROJECT_FILE).exists():
        _refuse_second(Database(_database_url(folder)), folder).close()
    told = {"version": 1, "database": noted}
    if public_url is not None:
        told["url"] = public_url
    write_atomic(folder / PROJECT_FILE, json.dumps(told) + "\n")
    return _refuse_second(Database(target), folder)


def _without_password(url: URL) -> URL:
    bare = URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, url.query
    )
    return bare.difference_update_query(["password"])


def _refuse_second(database: Database, folder: Path) -> Database:
    with closed_on_failure(database):
        database.migrate()
        found = stored_settings(database)
        if found is not None:
            where = f"{folder}" if database.sqlite else database.place
            raise UsageError(
                f"{where} holds the project {found.name!r} already; a project is never made twice"
            )
    return database
