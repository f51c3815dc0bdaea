"""A project: a folder that names its database, and the settings fixed when it was made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.engine import URL

from flames.annotation.database import Database, parse_url
from flames.annotation.database import settings as settings_table
from flames.annotation.events import timestamp, utc_now
from flames.annotation.options import DEFAULT_URL, checked_url
from flames.annotation.seals import seal_people
from flames.errors import InputError, UsageError
from flames.records import Frozen
from flames.storage.atomic import write_atomic
from flames.taxonomy import Language, Taxonomy

PROJECT_FILE = "project.json"
DATABASE_FILE = "labels.db"
RULES = "rules"  # the name of the leads' rules among the settings
DATABASE_VARIABLE = "FLAMES_ANNOTATE_DATABASE"


class SourceFile(Frozen):
    """A source of responses; those `without_text` (of response or prompt) were left out."""

    name: str
    sha256: str
    responses: int
    without_text: int


class ProjectSettings(Frozen):
    """What was fixed when the project was made; `without_text` counts what cannot be judged."""

    version: Literal[1] = 1
    name: str
    created: str
    seed: int
    per_item: int
    sample: int | None
    stratify: tuple[str, ...]
    control_rate: float
    lease_minutes: float
    min_seconds: float = 0.0
    pass_training: float | None = None
    pass_controls: float | None = None
    choose: str | None = None
    chosen_by: str | None = None
    lang: Language
    taxonomy: Taxonomy
    sources: tuple[SourceFile, ...]
    population: int
    without_text: int
    items_sha256: str


class Project(AbstractContextManager["Project"]):
    """An open project, its database up to date."""

    def __init__(
        self, path: Path, database: Database, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.path = path
        self.database = database
        self.clock = clock
        self.places = (0, 0)  # the last item's number, and the places of all items up to it

    def now(self) -> str:
        """Returns the current time as it is stored."""
        return timestamp(self.clock())

    @cached_property
    def settings(self) -> ProjectSettings:
        """What was fixed when the project was made."""
        found = stored_settings(self.database)
        if found is None:
            message = "has no project in its database; was `flames annotate init` cut short? "
            raise InputError(message + "Run it again", path=self.path)
        return found

    @cached_property
    def key(self) -> str:
        """A short name that no other project has."""
        told = self.settings
        whole = f"{told.created} {told.seed} {told.items_sha256}"
        return hashlib.sha256(whole.encode()).hexdigest()[:8]

    @property
    def taxonomy(self) -> Taxonomy:
        """The taxonomy that the annotators apply."""
        return self.settings.taxonomy

    def link(self, token: str, url: str | None = None) -> str:
        """Returns a personal link; `url` overrides the project's public address."""
        stored = read_project_file(self.path).get("url") or DEFAULT_URL
        base = stored if url is None else checked_url(url)
        return f"{base}/join/{token}"

    def close(self) -> None:
        """Closes the database."""
        self.database.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def stored_settings(database: Database) -> ProjectSettings | None:
    """Returns the settings in a database, or None if it holds no project."""
    query = select(settings_table.c.value).where(settings_table.c.name == "project")
    with database.read() as connection:
        text = connection.execute(query).scalar_one_or_none()
    if text is None:
        return None
    try:
        return ProjectSettings.model_validate_json(text)
    except ValueError:
        raise InputError("is damaged: its settings cannot be read", path=database.place) from None


def open_project(
    path: str | os.PathLike[str], *, clock: Callable[[], datetime] = utc_now
) -> Project:
    """Opens a project's folder and brings its database up to date.

    `FLAMES_ANNOTATE_DATABASE` overrides the database named in the folder.
    """
    folder = Path(path)
    database = Database(_database_url(folder, read_project_file(folder)["database"]))
    if database.sqlite and not Path(str(database.url.database)).exists():
        raise InputError(f"its database {DATABASE_FILE} is missing", path=folder)
    project = Project(folder, database, clock)
    with closed_on_failure(database):
        database.migrate(lambda connection: seal_people(connection, project.now()))
        _ = project.settings
    return project


@contextmanager
def closed_on_failure(database: Database) -> Iterator[None]:
    """Closes the database if the block fails."""
    try:
        yield
    except BaseException:
        database.close()
        raise


def read_project_file(folder: Path) -> dict[str, Any]:
    """Returns what the folder says of its project: at least the `database`."""
    file = folder / PROJECT_FILE
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return {**data, "database": str(data["database"])}
    except FileNotFoundError:
        message = "is not an annotation project; `flames annotate init` makes one"
        raise InputError(message, path=folder) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from None
    except (ValueError, KeyError, TypeError):
        raise InputError("is damaged: it must name a `database`", path=file) from None


def _database_url(folder: Path, named: str) -> URL:
    if chosen := os.environ.get(DATABASE_VARIABLE):
        return parse_url(chosen)
    if named == DATABASE_FILE:
        return URL.create("sqlite", database=str(folder / DATABASE_FILE))
    return parse_url(named)


def prepare_database(folder: Path, url: str | None, public_url: str | None) -> Database:
    """Opens the database of a project that is about to be made, and writes the project file.

    A password in the URL is not written: opening the project takes it from
    `FLAMES_ANNOTATE_DATABASE`, `PGPASSWORD` or a `.pgpass` file.
    """
    chosen = os.environ.get(DATABASE_VARIABLE) or url
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a project is a folder")
    target = _database_url(folder, DATABASE_FILE) if chosen is None else parse_url(chosen)
    if (folder / PROJECT_FILE).exists():
        named = read_project_file(folder)["database"]
        _refuse_second(Database(_database_url(folder, named)), folder).close()
    content = {"version": 1, "database": DATABASE_FILE}
    if chosen is not None:
        parts = (target.host, target.port, target.database, target.query)
        bare = URL.create(target.drivername, target.username, None, *parts)
        bare = bare.difference_update_query(["password"])
        content["database"] = bare.render_as_string(hide_password=False)
    if public_url is not None:
        content["url"] = public_url
    write_atomic(folder / PROJECT_FILE, json.dumps(content) + "\n")
    return _refuse_second(Database(target), folder)


def _refuse_second(database: Database, folder: Path) -> Database:
    with closed_on_failure(database):
        database.migrate()
        found = stored_settings(database)
        if found is not None:
            where = folder if database.sqlite else database.place
            raise UsageError(
                f"{where} already holds the project {found.name!r}; choose another folder"
            )
    return database
