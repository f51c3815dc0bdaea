"""Copies of a project, made while it is served."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL

from flames.annotation.database import Database
from flames.annotation.project import DATABASE_FILE, PROJECT_FILE, Project, read_project_file
from flames.annotation.verification import Verification, verify
from flames.errors import InputError, OutsideError, UsageError
from flames.storage.atomic import write_atomic


def backup(project: Project, out: Path) -> Verification:
    """Copies a project in SQLite as it is at one moment into a new folder, and checks the copy.

    What waits in the write-ahead log is part of it. The copy is a project that can be served; open
    sessions and failed attempts to sign in are left out.
    """
    database = project.database
    if not database.sqlite:
        name, host = database.url.database, database.url.host
        at = f" --host {host}" if host else ""
        raise UsageError(
            f"the labels are in PostgreSQL, whose own tool copies them: "
            f"pg_dump{at} --format custom --file labels.dump {name}"
        )
    try:
        out.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise InputError("is there already; a backup needs a new folder", path=out) from None
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", path=out) from None
    target = out / DATABASE_FILE
    try:
        _copy(str(database.url.database), target)
    except (sqlite3.Error, OSError) as error:
        raise OutsideError(f"{target}: the backup failed: {error}") from error
    copied = Project(out, Database(URL.create("sqlite", database=str(target))), project.clock)
    try:
        found = verify(copied)
    finally:
        copied.close()
    # Written last: a folder without it is no project.
    content = {**read_project_file(project.path), "database": DATABASE_FILE}
    write_atomic(out / PROJECT_FILE, json.dumps(content) + "\n")
    return found


def _copy(source: str, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.execute("PRAGMA busy_timeout=30000")
        original.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        copy.execute("PRAGMA secure_delete=ON")
        for table in ("sessions", "failures"):
            copy.execute(f"DELETE FROM {table}")  # noqa: S608  (a name of ours)
        copy.commit()
