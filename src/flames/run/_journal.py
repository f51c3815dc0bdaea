"""The append-only file of responses, one line each, that survives a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from flames.errors import InputError, OutsideError
from flames.records import Key, Response


class Line(NamedTuple):
    """A line of the journal: number (from 1), offset in bytes, length in bytes, its record."""

    number: int
    offset: int
    length: int
    response: Response


def read_journal(path: Path) -> Iterator[Line]:
    """Yields the whole lines of a journal in their order; a torn last line is passed over.

    Raises:
        InputError: Another line than the last cannot be read.
    """
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        held: tuple[int, int, bytes, str] | None = None
        for number, raw in enumerate(file, start=1):
            if held is not None:
                _broken(path, held)
            start, offset = offset, offset + len(raw)
            if not raw.strip():
                continue
            try:  # not pydantic's own JSON: it knows no lone surrogates
                response = Response.model_validate(json.loads(raw))
            except ValidationError as error:
                held = (number, start, raw, error.errors(include_url=False)[0]["msg"])
                continue
            except (ValueError, RecursionError):
                held = (number, start, raw, "no JSON")
                continue
            yield Line(number, start, len(raw), response)
        # only a line that was never ended can be torn
        if held is not None and held[2].endswith(b"\n"):
            _broken(path, held)


def _broken(path: Path, held: tuple[int, int, bytes, str]) -> None:
    raise InputError(f"is no response: {held[3]}", path=path, line=held[0])


class Journal:
    """A journal open for appending. Its lines are written whole, each in one call.

    Opening drops a torn last line, so that the next one starts on a line of its own; `dropped`
    is its length in bytes. `statuses` tells of every key what its last line says.

    Args:
        path: The file; made where it is missing.
        seen: Told of every response that is there.
    """

    def __init__(self, path: Path, seen: Callable[[Response], None] | None = None) -> None:
        self.path = path
        self.dropped = 0
        self.statuses: dict[Key, str] = {}
        end, unended = 0, False
        for line in read_journal(path):
            end = line.offset + line.length
            self.statuses[line.response.key] = line.response.status
            if seen is not None:
                seen(line.response)
        size = path.stat().st_size if path.exists() else 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if end:
            unended = os.pread(self._file, 1, end - 1) != b"\n"
        tail = os.pread(self._file, size - end, end) if size > end else b""
        if tail.strip():
            self.dropped = len(tail)
        if tail:
            os.ftruncate(self._file, end)
        if unended:
            os.write(self._file, b"\n")

    def append(self, response: Response) -> None:
        """Adds a record; once it returns, a kill of this process cannot lose it.

        Raises:
            OutsideError: The disk did not take it.
        """
        data = response.to_line().encode("utf-8") + b"\n"
        start = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise OutsideError(f"{self.path}: cannot be written: {error.strerror}") from None
        if written != len(data):
            os.ftruncate(self._file, start)
            raise OutsideError(f"{self.path}: the disk is full; what was done so far is kept")
        self.statuses[response.key] = response.status

    def close(self) -> None:
        """Makes sure that the disk has everything."""
        os.fsync(self._file)
        os.close(self._file)
