"""Writing folders so that a kill at any moment leaves the old one or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from flames.errors import UsageError
from flames.io._lock import lock


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
