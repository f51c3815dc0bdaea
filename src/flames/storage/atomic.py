"""Writes files and folders so that a kill leaves the old one or the new one; takes locks."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from flames.errors import UsageError
from flames.records import dump_line
from flames.storage.locks import lock
from flames.text import for_cell


def write_atomic(path: str | os.PathLike[str], data: str | bytes | Iterable[bytes | str]) -> Path:
    """Writes a whole file, with its parents, by renaming a complete and flushed neighbour.

    Large data may come in parts, of which only one is in memory at a time.
    """
    target = Path(path)
    real = Path(os.path.realpath(path))  # a link stays a link
    raw = data.encode("utf-8") if isinstance(data, str) else data
    several = [raw] if isinstance(raw, bytes) else raw
    parts = (part.encode("utf-8") if isinstance(part, str) else part for part in several)
    temporary: str | None = None
    try:
        if real.exists() and not real.is_file() and not real.is_dir():
            with real.open("wb") as file:  # a pipe or a device cannot be replaced
                file.writelines(parts)
            return target
        real.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0o022)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, real)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    return target


def to_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns rows as JSON Lines."""
    return "".join(dump_line(dict(row)) + "\n" for row in rows)


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Returns rows as CSV with a header; cells that look like formulas are neutralised.

    Lists and objects are cells of JSON.
    """
    names = list(columns)
    text, one = io.StringIO(newline=""), io.StringIO(newline="")
    writer = csv.writer(one)  # whose line end, CRLF, is what it puts cells with CR in quotes for
    for row in chain([dict(zip(names, names, strict=True))], rows):
        writer.writerow([for_cell(_plain(row.get(name))) for name in names])
        text.write(one.getvalue().removesuffix("\r\n") + "\n")
        one.seek(0)
        one.truncate()
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return dump_line(value)
    return "" if value is None else value


@contextlib.contextmanager
def folder_atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Makes a new folder that replaces `path`, whole, when the block ends without an error.

    It is filled inside a hidden folder next to it, which the writer locks: the next writer
    removes what a killed one left, but never what a living one fills.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    place = target.with_name(f".{target.name}.new")
    made, old = place / "made", place / "old"
    with _locked(place, path):
        _put_right(made, old, target)
        for left in place.iterdir():
            shutil.rmtree(left)
        made.mkdir()
        try:
            yield made
            if target.exists():
                os.replace(target, old)
            os.replace(made, target)
        finally:
            _put_right(made, old, target)
            shutil.rmtree(place, ignore_errors=True)


def _put_right(made: Path, old: Path, target: Path) -> None:
    if old.exists() and not target.exists():
        os.replace(made, target)


@contextlib.contextmanager
def _locked(place: Path, path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{os.fspath(path)}: cannot be written: {error.strerror}") from None
    try:
        if not lock(handle, place):
            raise UsageError(f"{os.fspath(path)}: another process is writing it")
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run directory, so that it has one writer."""
    path = folder / ".lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not lock(handle, path):
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            raise UsageError(
                f"{folder}: another process ({holder or 'unknown'}) is writing to this run; "
                "wait for it, or choose another --out"
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
