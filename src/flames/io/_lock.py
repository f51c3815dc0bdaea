"""Locks that end with the process that holds them, however that ends."""

from __future__ import annotations

import os

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
