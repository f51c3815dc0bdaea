"""Checksums of files; that of a large file is taken once as long as the file does not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from flames.errors import UsageError
from flames.storage.atomic import write_atomic
from flames.storage.home import home
from flames.storage.text_files import open_binary

LARGE = 2**24  # bytes from which a checksum is worth remembering


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file, in hex; that of a large one is kept in the user's cache."""
    with open_binary(os.fspath(path)) as file:
        found = os.fstat(file.fileno())
        stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        note = _note(path) if found.st_size >= LARGE else None
        if note is not None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                known = json.loads(note.read_bytes())
                if known["stamp"] == stamp:
                    return str(known["sha256"])
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    if note is not None:
        with contextlib.suppress(UsageError):  # a cache that cannot be written only costs time
            write_atomic(note, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest


def _note(path: str | os.PathLike[str]) -> Path | None:
    name = hashlib.sha256(str(Path(path).resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        return home() / "checksums" / f"{name[:32]}.json"
    except UsageError:
        return None
