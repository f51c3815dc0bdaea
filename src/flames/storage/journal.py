"""The append-only file behind responses, requests, verdicts and a judge's answers.

Every append is one write, so a kill at any moment loses at most the line it interrupts.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from flames.errors import InputError, OutsideError, UsageError
from flames.records import Key, Response
from flames.storage.locks import lock

K = TypeVar("K")
V = TypeVar("V")


class JournalLine(NamedTuple):
    """A line of a journal: number (from 1), offset and length in bytes; None if no JSON object."""

    number: int
    offset: int
    length: int
    fields: dict[str, Any] | None

    @property
    def end(self) -> int:
        """Where the next line begins, in bytes."""
        return self.offset + self.length


def read_lines(path: Path) -> Iterator[JournalLine]:
    """Yields the lines of a journal, without blank ones and a torn last one."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            start, offset = offset, offset + len(raw)
            if not raw.strip():
                continue
            fields = None
            with suppress(ValueError, RecursionError):  # pydantic's own refuses lone surrogates
                fields = value if isinstance(value := json.loads(raw), dict) else None
            if fields is None and not raw.endswith(b"\n"):
                return  # only a line that was never ended can be torn
            yield JournalLine(number, start, len(raw), fields)


class Journal(Generic[K, V]):
    """An append-only file of lines, open for writing.

    A journal has one writer, which holds its lock; opening it drops a torn last line. A shared
    journal takes lines from many processes at once; a torn line stays there and is ended.

    Args:
        entry: Returns the key and the value of a line that is there, or None to ignore it. Left
            out, the file is not read.
        mode: Permissions of a new file.

    Attributes:
        entries: The value of the last line of every key.
        dropped: Length of the torn last line that was dropped, in bytes.
    """

    def __init__(
        self,
        path: Path,
        entry: Callable[[JournalLine], tuple[K, V] | None] | None = None,
        *,
        shared: bool = False,
        mode: int = 0o666,
    ) -> None:
        self.path = path
        self.entries: dict[K, V] = {}
        self.dropped = 0
        self._shared = shared
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, mode)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
        self._closing = weakref.finalize(self, os.close, self._file)
        try:
            if not shared and not lock(self._file, path):
                raise UsageError(f"{path}: another process is writing it")
            if entry is not None:
                end = 0
                for line in read_lines(path):
                    end = line.end
                    if (found := entry(line)) is not None:
                        self.entries[found[0]] = found[1]
                self.cut(end)
        except BaseException:
            self._closing()
            raise

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return os.fstat(self._file).st_size

    def cut(self, end: int) -> None:
        """Drops what follows byte `end`, except in a shared journal; ends an open last line."""
        size = self.size
        if size > end and not self._shared:
            torn = os.pread(self._file, size - end, end)
            self.dropped = len(torn) if torn.strip() else 0
            os.ftruncate(self._file, end)
            size = end
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self.write(b"\n")

    def append(self, *lines: str) -> None:
        """Adds lines; once it returns, a kill of this process cannot lose them."""
        self.write("".join(line + "\n" for line in lines).encode("utf-8"))

    def keep(self, key: K, value: V, line: str) -> None:
        """Adds a line, and its value to the entries."""
        self.append(line)
        self.entries[key] = value

    def write(self, data: bytes) -> None:
        """Adds bytes as they are, all or none."""
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise OutsideError(f"{self.path}: cannot be written: {error.strerror}") from None
        if written != len(data):
            if not self._shared:
                os.ftruncate(self._file, self.size - written)
            raise OutsideError(f"{self.path}: the disk is full; what was done so far is kept")

    def sync(self) -> None:
        """Waits until the disk has everything."""
        os.fsync(self._file)

    def close(self) -> None:
        """Closes the file; the disk then has everything that a single writer wrote."""
        if self._closing.alive:
            if not self._shared:
                self.sync()
            self._closing()


def response_reader(
    path: Path, asked: Container[Key] | None = None
) -> Callable[[JournalLine], Response]:
    """Returns a function from the lines of a run's journal, in order, to their responses.

    Args:
        path: The journal, for messages.
        asked: The keys of its run; any unless given.
    """
    answered: dict[Key, int] = {}

    def read(line: JournalLine) -> Response:
        problem = "no JSON object"
        response = None
        if line.fields is not None:
            try:
                response = Response.model_validate(line.fields)
            except ValidationError as error:
                problem = error.errors(include_url=False)[0]["msg"]
        if response is None:
            problem = f"is no response: {problem}; delete the line, and --resume asks it again"
            raise InputError(problem, path=path, line=line.number)
        key = response.key
        what = f"prompt {key.prompt_id!r}, model {key.model!r}, sample {key.sample}"
        if asked is not None and key not in asked:
            problem = f"{what} was not to be asked in this run; delete the line"
            raise InputError(problem, path=path, line=line.number)
        if key in answered:
            problem = f"{what} is answered twice, here and on line {answered[key]}"
            raise InputError(f"{problem}; delete one of the two", path=path, line=line.number)
        if response.status != "error":
            answered[key] = line.number
        return response

    return read


def read_journal(
    path: Path, asked: Container[Key] | None = None
) -> Iterator[tuple[JournalLine, Response]]:
    """Yields the lines of a run's journal with their responses; see `response_reader`."""
    read = response_reader(path, asked)
    for line in read_lines(path):
        yield line, read(line)
