"""The tables, and the database that holds them: SQLite in a file, or PostgreSQL by URL.

`events` is the source of truth. All other tables are written in the same transaction as their
events; `verify` derives them again and compares every column. Of items only places taken, batch and
suggestion change; `sessions` and `failures` serve signing in and need no backup.
Times are text in UTC with microseconds (`2026-11-22T02:45:21.000000Z`), which sorts by time.

SQLite runs in WAL mode with `synchronous=FULL`: neither a killed process nor a power cut loses an
acknowledged commit. Writers of one process queue on a lock of ours, which is fair.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from flames.errors import InputError, OutsideError, UsageError

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME = sa.String(27)

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", sa.Text, nullable=False, unique=True),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("active", sa.Integer, nullable=False),
    sa.Column("lang", sa.String(2)),
    sa.Column("link_hash", sa.String(64), unique=True),
    sa.Column("password_hash", sa.Text),
    sa.Column("held", sa.String(8)),  # which pass mark was missed; nothing new until the release
    sa.Column("cleared", sa.Integer, nullable=False, server_default="0"),  # last release's event
    sa.Column("link_until", TIME),
    sa.Column("link_once", sa.Integer, nullable=False, server_default="0"),
    sa.Column("quota", sa.Integer),  # labels that they are to give at most
    sa.Column("guideline", sa.Integer, nullable=False, server_default="0"),  # version read last
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("person", sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("csrf", sa.String(43), nullable=False),
    sa.Column("expires", TIME, nullable=False),
)

failures = sa.Table(
    "failures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("scope", sa.String(64), nullable=False),
    sa.Column("at", TIME, nullable=False),
    sa.Index(None, "scope", "at"),
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("ref", sa.String(16), nullable=False, unique=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("dimension", sa.Text, nullable=False),
    sa.Column("subcomponent", sa.Text),
    sa.Column("response", sa.Text, nullable=False),
    sa.Column("gold", sa.Integer),
    sa.Column("explanation", sa.Text),
    sa.Column("stratum", sa.Text),
    sa.Column("stratum_drawn", sa.Integer),
    sa.Column("stratum_size", sa.Integer),
    sa.Column("quota", sa.Integer),
    sa.Column("taken", sa.Integer, nullable=False, default=0),
    sa.Column("probability", sa.Double),  # of being drawn, where it is not the stratum's
    sa.Column("added", sa.Integer, nullable=False, server_default="0"),  # event that brought it
    sa.Column("batch", sa.Text),
    sa.Column("suggestion", sa.Integer),  # a scorer's score, while annotators are shown it
    sa.CheckConstraint("kind IN ('work', 'control', 'training')", name="kind"),
    sa.CheckConstraint("taken >= 0", name="taken"),
)


def _lease_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("ticket", sa.String(22), unique=True),
        sa.Column("since", TIME),
        sa.Column("expires", TIME),
        sa.Column("score", sa.Integer),
    ]


assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("person", sa.ForeignKey("people.id"), primary_key=True),
    sa.Column("item", sa.ForeignKey("items.id"), primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("position", sa.Integer),
    *_lease_columns(),
    sa.Column("rationale", sa.Text),
    sa.Column("seq", sa.Integer),
    sa.CheckConstraint(
        "state IN ('waiting', 'leased', 'offline', 'labelled', 'skipped', 'flagged', 'voided')",
        name="state",
    ),
    sa.Index(None, "person", "state", "kind", "position"),
    sa.Index(None, "item", "state"),
    sa.Index(None, "state", "expires"),
)

adjudications = sa.Table(
    "adjudications",
    metadata,
    sa.Column("item", sa.ForeignKey("items.id"), primary_key=True),
    sa.Column("person", sa.ForeignKey("people.id"), nullable=False),
    *_lease_columns(),
    sa.Column("reason", sa.Text),
    sa.Column("seq", sa.Integer),
    sa.CheckConstraint("state IN ('leased', 'settled')", name="state"),
    sa.Index(None, "person", "state"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("kind", sa.String(30), nullable=False),
    sa.Column("person", sa.Integer),
    sa.Column("item", sa.Integer),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "at"),
)

chain = sa.Table(
    "chain",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

guidelines = sa.Table(
    "guidelines",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("zh", sa.Text, nullable=False),
    sa.Column("en", sa.Text, nullable=False),
    sa.Column("person", sa.ForeignKey("people.id"), nullable=False),
    sa.Column("at", TIME, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("person", sa.ForeignKey("people.id"), primary_key=True),
)

comments = sa.Table(
    "comments",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("item", sa.ForeignKey("items.id"), nullable=False, index=True),
    sa.Column("person", sa.ForeignKey("people.id"), nullable=False),
    sa.Column("addressee", sa.ForeignKey("people.id")),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),
)

_WRITE = "flames_write"
_MIGRATION_LOCK = 0x666C616D6573  # "flames": one migration at a time on a PostgreSQL server


class Database:
    """Transactions on one database: `sqlite:///PATH` or `postgresql://…` (through psycopg 3)."""

    def __init__(self, url: str | URL) -> None:
        self.url = parse_url(url)
        self._write_lock = threading.Lock()
        # Connections that a PostgreSQL server has closed fail once and are then all replaced;
        # testing each connection before use would cost every request a round trip.
        recycle = -1 if self.sqlite else 600
        self.engine = sa.create_engine(
            self.url, pool_size=24, max_overflow=16, pool_recycle=recycle
        )
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def sqlite(self) -> bool:
        """Whether it is a SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def place(self) -> str:
        """File or URL for messages, without a password."""
        return str(self.url.database) if self.sqlite else self.url.render_as_string()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Opens a read-only transaction on a snapshot of the database."""
        with self._outside_errors(), self.engine.connect() as connection:
            if not self.sqlite:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection

    @contextlib.contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """Opens a connection for a single read statement, without a transaction around it."""
        with self._outside_errors(), self._autocommit.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Opens a transaction that is committed durably when the block succeeds."""
        queue = self._write_lock if self.sqlite else contextlib.nullcontext()
        with self._outside_errors(), queue, self.engine.connect() as connection:
            connection.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def _outside_errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            reason = next(iter(str(error.orig).strip().splitlines()), "?")
            raise OutsideError(f"{self.place}: the database failed: {reason}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise OutsideError(f"{self.place}: the database went away") from error
            if type(error) is DatabaseError:  # as SQLite calls a file that is not its own
                raise InputError(f"is damaged: {error.orig}", path=self.place) from error
            raise
        except sqlite3.DatabaseError as error:  # before SQLAlchemy has a connection
            raise InputError(f"is damaged: {error}", path=self.place) from error

    def migrate(self, upgraded: Callable[[sa.Connection], None] | None = None) -> None:
        """Creates the tables, or upgrades those of an older version.

        `upgraded` is called in the same transaction after an upgrade.
        """
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        scripts = ScriptDirectory.from_config(config)
        with self.read() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        if current is not None and current not in {s.revision for s in scripts.walk_revisions()}:
            raise UsageError(f"{self.place} was made by a newer Flames; install that version")
        with self.write() as connection:
            if not self.sqlite:
                lock = sa.text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock.bindparams(key=_MIGRATION_LOCK))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if current is not None and upgraded is not None:
                upgraded(connection)
        if self.sqlite and self.url.database:
            os.chmod(self.url.database, 0o600)  # it holds hashes of passwords and links

    def count_rows(self) -> None:
        """Lets the database count what its tables hold, so that it plans queries well at once."""
        with self.look() as connection:
            for table in (people, items, assignments):
                connection.execute(sa.text(f"ANALYZE {table.name}"))

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def parse_url(url: str | URL) -> URL:
    """Parses a database URL and sets its driver."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError("--database takes postgresql://USER@HOST/NAME or sqlite:///PATH") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(f"--database takes postgresql://… or sqlite:///PATH, not {backend}")


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


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
