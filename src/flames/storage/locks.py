"""Locks of files and folders, and doing without them where a file system has none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated

from flames.errors import UsageError
from flames.options import CheckedOptions, Opt

_told: ContextVar[Callable[[str], None] | None] = ContextVar("_told", default=None)


def lock(handle: int, path: str | os.PathLike[str]) -> bool:
    """Takes the lock of an open file or folder; the end of the process frees it.

    False means that it was taken, or that its holder renamed the path meanwhile.
    """
    import fcntl  # Windows has none, and reading must work there

    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            _do_without(path, error)
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _do_without(path: str | os.PathLike[str], error: OSError) -> None:
    tell = _told.get()
    problem = f"{os.fspath(path)}: its file system has no locks: {error.strerror}"
    if tell is None:
        raise UsageError(f"{problem}; if nobody else writes there, add --no-lock") from None
    tell(f"{problem}; it is written without one, so let nobody else write there")


@contextmanager
def without_locks(say: Callable[[str], None]) -> Iterator[None]:
    """Does without locks, inside the block, where a file system has none; says so once."""
    said: list[str] = []

    def tell(line: str) -> None:
        if not said:
            said.append(line)
            say(line)

    token = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(token)


@dataclass(frozen=True)
class LockOptions(CheckedOptions):
    """Whether a file system without locks will do."""

    no_lock: Annotated[
        bool, Opt("Write without a lock where the file system has none (some network mounts).")
    ] = False

    @contextmanager
    def applied(self, say: Callable[[str], None]) -> Iterator[None]:
        """Applies the option to the block."""
        if not self.no_lock:
            yield
            return
        with without_locks(say):
            yield
