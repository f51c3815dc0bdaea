"""One writer a run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flames.errors import UsageError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system lets go of it when the process ends in any way.

    Raises:
        UsageError: Another process holds it.
    """
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            raise UsageError(
                f"{folder}: another process ({holder or 'unknown'}) is writing to this run; "
                "wait for it, or choose another --out"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
