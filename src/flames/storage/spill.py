"""Values that are kept in a nameless temporary file, so that many of them fit."""

from __future__ import annotations

import marshal
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from flames.errors import OutsideError

_IN_MEMORY = 8_000_000  # bytes that wait to be written; fewer need no file
_HEAD = 4  # bytes of a value's length


class Spill:
    """Values of JSON's kinds by the place that adding them gave; gone with the process."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._tail = bytearray()  # what the file does not have yet
        self._written = 0
        self._others: list[Any] = []  # dates of a spreadsheet, say

    def add(self, value: Any) -> int:
        """Keeps a value and returns its place."""
        try:
            data = marshal.dumps(value)
        except ValueError:
            self._others.append(value)
            return -len(self._others)
        tail = self._tail
        place = self._written + len(tail)
        tail += len(data).to_bytes(_HEAD, "little")
        tail += data
        if len(tail) > _IN_MEMORY:
            self._write()
        return place

    def get(self, place: int) -> Any:
        """Returns the value of a place, made anew."""
        if place < 0:
            return self._others[-place - 1]
        size = int.from_bytes(self._read(place, _HEAD), "little")
        return marshal.loads(self._read(place + _HEAD, size))  # noqa: S302  (our own)

    def _read(self, place: int, size: int) -> bytes:
        if place >= self._written:
            at = place - self._written
            return bytes(memoryview(self._tail)[at : at + size])
        assert self._file is not None
        with _told():
            if self._file.tell() != place:
                self._file.seek(place)
            return self._file.read(size)

    def _write(self) -> None:
        with _told():
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            self._file.seek(self._written)
            self._file.write(self._tail)
            self._file.flush()
        self._written += len(self._tail)
        self._tail = bytearray()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        message = f"{folder}: no room for temporary files: {error.strerror}"
        raise OutsideError(f"{message}; TMPDIR=FOLDER names another folder") from None
