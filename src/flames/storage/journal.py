"""The append-only files of a run: responses and requests, safe from a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from flames.errors import InputError, OutsideError
from flames.records import Key, Response


class JournalLine(NamedTuple):
    """A line of the journal: number (from 1), offset in bytes, length in bytes, its record."""

    number: int
    offset: int
    length: int
    response: Response


def read_journal(path: Path, asked: Container[Key] | None = None) -> Iterator[JournalLine]:
    """Yields the whole lines of a journal in their order; a torn last line is passed over.

    Args:
        path: The file; a missing one holds nothing.
        asked: What is to be asked in its run; anything unless given.

    Raises:
        InputError: Another line than the last cannot be read, or one is of a response that is
            there already or was not to be asked.
    """
    if not path.exists():
        return
    answered: dict[Key, int] = {}
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
            key = response.key
            if problem := _misplaced(key, answered.get(key), asked):
                raise InputError(problem, path=path, line=number)
            if response.status != "error":
                answered[key] = number
            yield JournalLine(number, start, len(raw), response)
        # only a line that was never ended can be torn
        if held is not None and held[2].endswith(b"\n"):
            _broken(path, held)


def _broken(path: Path, held: tuple[int, int, bytes, str]) -> None:
    message = f"is no response: {held[3]}; delete the line, and --resume asks it again"
    raise InputError(message, path=path, line=held[0])


def _misplaced(key: Key, answered: int | None, asked: Container[Key] | None) -> str | None:
    """Why a response cannot stand in a journal, if it cannot."""
    what = f"prompt {key.prompt_id!r}, model {key.model!r}, sample {key.sample}"
    if asked is not None and key not in asked:
        return f"{what} was not to be asked in this run; delete the line"
    if answered is not None:
        return f"{what} is answered twice, here and on line {answered}; delete one of the two"
    return None


class Journal:
    """A journal open for appending. Its lines are written whole, each in one call.

    Opening drops a torn last line, so that the next one starts on a line of its own; `dropped`
    is its length in bytes. `statuses` tells of every key what its last line says.

    Args:
        path: The file; made where it is missing.
        seen: Told of every response that is there.
        asked: See `read_journal`.

    Raises:
        InputError: See `read_journal`.
    """

    def __init__(
        self,
        path: Path,
        seen: Callable[[Response], None] | None = None,
        asked: Container[Key] | None = None,
    ) -> None:
        self.path = path
        self.dropped = 0
        self.statuses: dict[Key, str] = {}
        end, unended = 0, False
        for line in read_journal(path, asked):
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


class RequestLog:
    """How many requests a run has made: a file with a dot for each, written before it is sent.

    So a kill can hide none: those without an outcome in the journal were cut off.

    Args:
        path: The file; made where it is missing.
        known: How many the journal tells of; there were never fewer.
    """

    def __init__(self, path: Path, known: int = 0) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.count = os.fstat(self._file).st_size
        if self.count < known:
            self.add(known - self.count)

    def add(self, requests: int = 1) -> None:
        """Counts requests that are about to be made.

        Raises:
            OutsideError: The disk did not take it.
        """
        try:
            written = os.write(self._file, b"." * requests)
        except OSError as error:
            raise OutsideError(f"{self.path}: cannot be written: {error.strerror}") from None
        if written != requests:
            raise OutsideError(f"{self.path}: the disk is full; what was done so far is kept")
        self.count += requests

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
