"""Writing files so that a kill at any moment leaves the old one or the new one, never half.

Writing folders so that a kill at any moment leaves the old one or the new one, never half.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flames.errors import UsageError
from flames.records import dump_line
from flames.storage.lock import lock
from flames.text import for_cell


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> Path:
    """Writes a whole file, parents included, by renaming a complete and flushed neighbour.

    Raises:
        UsageError: The place cannot be written to.
    """
    target = Path(path)
    real = Path(os.path.realpath(path))  # a link stays a link
    raw = data.encode("utf-8") if isinstance(data, str) else data
    temporary: str | None = None
    try:
        if real.exists() and not real.is_file() and not real.is_dir():
            real.write_bytes(raw)  # a pipe or a device is no file to be replaced
            return target
        real.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, real)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    return target


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def to_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """JSON Lines, one object a line."""
    return "".join(dump_line(dict(row)) + "\n" for row in rows)


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """CSV with a header; cells that a spreadsheet would take for a formula are neutralised."""
    names = list(columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([for_cell(name) for name in names])
    for row in rows:
        writer.writerow([for_cell("" if row.get(name) is None else row[name]) for name in names])
    return text.getvalue()


@contextlib.contextmanager
def folder_atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder that takes its place, whole, when the block ends without an error.

    It is filled inside a hidden one beside it, one a target, which its writer locks: what a
    killed writer left there is cleared away by the next one, what a living one fills never.

    Args:
        path: Where it is to stand; a folder that stands there is replaced.

    Yields:
        The empty folder to fill.

    Raises:
        UsageError: The place cannot be written to, or another process is writing it.
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
    """Finishes what was stopped between the two renames."""
    if old.exists() and not target.exists():
        os.replace(made, target)


@contextlib.contextmanager
def _locked(place: Path, path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes a folder and holds its lock, which ends with the process, however that ends."""
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
