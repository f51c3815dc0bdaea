"""The results of batches by custom id, read from files of any order and any size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from flames.errors import InputError
from flames.options import listed
from flames.records import Key
from flames.storage.foreign.openai_batch import Outcome, is_outcome, is_request, outcome_of
from flames.text import shorten


class _Place(NamedTuple):
    """Where a result stands."""

    file: BinaryIO
    line: int
    offset: int
    length: int
    failed: bool


class BatchResults:
    """Where the results of known requests stand, in open files; an answer counts before a failure.

    Args:
        known: The keys that were asked, by their custom ids.

    Attributes:
        unknown: Custom ids that nobody asked, with their number of lines.
        twice: Custom ids with two answers, of which the first counts.
        unreadable: Number of lines that are no results.
    """

    def __init__(self, known: Mapping[str, Key]) -> None:
        self._known = known
        self._places: dict[str, _Place] = {}
        self.unknown: dict[str, int] = {}
        self.twice: dict[str, int] = {}
        self.unreadable = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, custom_id: str) -> bool:
        return custom_id in self._places

    def add(self, file: BinaryIO, name: str, *, strict: bool = True) -> int:
        """Reads a file to its end and returns its number of lines.

        Args:
            file: It stays open as long as the results are read.
            name: For messages.
            strict: Refuse lines that are no results, and two different answers to one request;
                otherwise they are counted.

        Raises:
            InputError: A line is wrong; nothing of the file is taken.
        """
        places, unknown, twice = dict(self._places), dict(self.unknown), dict(self.twice)
        file.seek(0)
        lines = unreadable = offset = 0
        for number, raw in enumerate(file, start=1):
            start, offset = offset, offset + len(raw)
            if not raw.strip():
                continue
            lines += 1
            try:
                found = outcome_of(_row(raw, name, number))
            except InputError:
                if strict:
                    raise
                unreadable += 1
                continue
            given = found.custom_id
            place = _Place(file, number, start, len(raw), found.failed)
            if given not in self._known:
                unknown[given] = unknown.get(given, 0) + 1
            elif (before := places.get(given)) is None or (before.failed and not found.failed):
                places[given] = place
            elif not (before.failed or found.failed) and _read(before).body != found.body:
                if strict:
                    what = f"{given!r} has another answer on line {before.line} of its file"
                    raise InputError(f"{what}; delete one of the two", path=name, line=number)
                twice[given] = twice.get(given, 1) + 1
        self._places, self.unknown, self.twice = places, unknown, twice
        self.unreadable += unreadable
        return lines

    def __iter__(self) -> Iterator[tuple[Key, Outcome]]:
        for given, place in self._places.items():
            yield self._known[given], _read(place)

    def told(self) -> list[str]:
        """Returns a line for each kind of result that was not taken."""
        lines = []
        if self.unknown:
            lines.append(f"{_named(self.unknown)} with a custom_id that this run did not ask")
        if self.twice:
            lines.append(f"{_named(self.twice)} answered twice; the first answer counts")
        if self.unreadable:
            lines.append(f"{self.unreadable} lines that are no results")
        return lines


def _named(ids: Mapping[str, int]) -> str:
    some = [shorten(given, 40) for given in list(ids)[:3]]
    more = ["…"] if len(ids) > len(some) else []
    return f"{sum(ids.values())} lines ({listed([*some, *more], 'and')})"


def _row(raw: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise InputError("is no JSON", path=name, line=number) from None
    if not isinstance(row, dict) or not is_outcome(row):
        asks = isinstance(row, dict) and is_request(row)
        what = "is a request of a batch, no result" if asks else "is no result of a batch"
        wanted = "a result has the fields `custom_id`, and `response` or `error`"
        raise InputError(f"{what}: {wanted}", path=name, line=number)
    return row


def _read(place: _Place) -> Outcome:
    back = place.file.tell()
    place.file.seek(place.offset)
    raw = place.file.read(place.length)
    place.file.seek(back)
    return outcome_of(_row(raw, "", place.line))
