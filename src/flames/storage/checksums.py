"""Checksums of large files, taken once as long as a file does not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from flames.errors import InputError, UsageError
from flames.storage.atomic import write_atomic
from flames.storage.home import home


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file; remembered in the cache by place, size, inode and time of change.

    Raises:
        InputError: The file cannot be read.
    """
    place = Path(path).resolve()
    try:
        found = place.stat()
        stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        note = home() / "checksums" / f"{hashlib.sha256(str(place).encode()).hexdigest()[:32]}.json"
        try:
            known = json.loads(note.read_bytes())
            if known["stamp"] == stamp:
                return str(known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        with open(place, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    with contextlib.suppress(UsageError):  # a cache that cannot be written only costs time
        write_atomic(note, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest
