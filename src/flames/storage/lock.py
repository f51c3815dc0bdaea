"""Locks that end with the process that holds them, however that ends.

One writer a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flames.errors import UsageError


def lock(handle: int, path: str | os.PathLike[str]) -> bool:
    """Takes the lock of an open file or folder, without waiting for it.

    Args:
        handle: Its file descriptor.
        path: What was opened.

    Returns:
        Whether it was free, and still stands there: who held it may have renamed it since.

    Raises:
        UsageError: Its file system gives no locks.
    """
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        message = f"{os.fspath(path)}: its file system gives no locks: {error.strerror}"
        raise UsageError(message) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system lets go of it when the process ends in any way.

    Raises:
        UsageError: Another process holds it, or the file system gives no locks.
    """
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
