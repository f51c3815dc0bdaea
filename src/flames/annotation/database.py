"""One database behind one engine: SQLite in a file, or PostgreSQL by URL.

SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the disk before it is
acknowledged, so neither a killed process nor a power cut loses one (as far as the disk keeps its
promises). Writers of one process queue on a lock of ours, which is fair and does not poll.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from flames.errors import OutsideError, UsageError

_WRITE = "flames_write"
_MIGRATION_LOCK = 0x666C616D6573  # "flames": one migration at a time on a PostgreSQL server


class Database:
    """Transactions on one database.

    Args:
        url: `sqlite:///PATH` or `postgresql://…` (taken over by psycopg 3).
        pool_size: Connections kept at most (PostgreSQL); SQLite opens one a thread.

    Raises:
        UsageError: The URL names no database that we know.
    """

    def __init__(self, url: str | URL, *, pool_size: int = 24) -> None:
        self.url = parse_url(url)
        self._writing = threading.Lock()
        if self.sqlite:
            self.engine = create_engine(self.url, pool_size=pool_size, max_overflow=16)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            # Connections that the server closed fail once and are then all replaced; asking
            # each time whether one still lives would cost every request a journey.
            self.engine = create_engine(
                self.url, pool_size=pool_size, max_overflow=16, pool_recycle=600
            )
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def sqlite(self) -> bool:
        """Whether it is a SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def place(self) -> str:
        """Where it is, without a password, for messages."""
        return str(self.url.database) if self.sqlite else self.url.render_as_string()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing.

        Raises:
            OutsideError: The database cannot be reached or failed.
        """
        with self._told(), self.engine.connect() as connection:
            if not self.sqlite:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection

    @contextlib.contextmanager
    def look(self) -> Iterator[Connection]:
        """For a single statement that reads: no transaction around it.

        Raises:
            OutsideError: The database cannot be reached or failed.
        """
        with self._told(), self._single.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed, durably, when the block ends well.

        Raises:
            OutsideError: The database cannot be reached or failed; nothing was changed.
        """
        queue = self._writing if self.sqlite else contextlib.nullcontext()
        with self._told(), queue, self.engine.connect() as connection:
            connection.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "?"
            raise OutsideError(f"{self.place}: the database failed: {reason}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise OutsideError(f"{self.place}: the database went away") from error
            raise

    def migrate(self) -> None:
        """Makes the tables, or brings those of an older version up to date.

        Raises:
            UsageError: The database was made by a newer version.
            OutsideError: The database cannot be reached.
        """
        scripts = ScriptDirectory.from_config(_config())
        head = scripts.get_current_head()
        with self.read() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        if current is not None and current not in {s.revision for s in scripts.walk_revisions()}:
            raise UsageError(f"{self.place} was made by a newer Flames; install that one")
        with self.write() as connection:
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)").bindparams(
                    key=_MIGRATION_LOCK))  # fmt: skip
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if self.sqlite and self.url.database:
            os.chmod(self.url.database, 0o600)  # it holds hashes of passwords and links

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def parse_url(url: str | URL) -> URL:
    """A database's URL with its driver settled.

    Raises:
        UsageError: It is no URL of SQLite or PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError("--database takes postgresql://USER@HOST/NAME or sqlite:///PATH") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres") or parsed.drivername == "postgres":
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(f"--database takes postgresql://… or sqlite:///PATH, not {backend}")


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path))


def _prepare_sqlite(connection: object, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # BEGIN is ours
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "cache_size=-32000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


__all__ = ["Database", "Engine", "parse_url", "sqlite_url"]
