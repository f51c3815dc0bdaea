"""Which file a scoring may replace: the same scorer's verdicts on the same responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from flames.errors import InputError, UsageError
from flames.records import Key, Response, dump_line
from flames.storage.rows import Row, read_rows


def key_of(line: Mapping[str, Any]) -> Key:
    """Returns the key of a line of verdicts."""
    return Key(str(line.get("prompt_id")), str(line.get("model")), line.get("sample", 0))


def is_there(target: Path) -> bool:
    """Tells whether there is a file that holds anything."""
    return target.is_file() and target.stat().st_size > 0


def check_verdicts(
    target: Path, scorer_id: str, responses: Iterator[Response], most: int | None = None
) -> None:
    """Refuses to replace what is not a scorer's verdicts on some of these responses, in order.

    Another version of the scorer is the same scorer.

    Args:
        most: How many verdicts are compared with the responses; all by default.

    Raises:
        UsageError: A line holds something else.
    """
    scorer = _unversioned(scorer_id)
    rows = _own_rows(target, scorer)
    for row in islice(rows, most):
        if not any(_is_on(response, row.fields) for response in responses):
            raise _refused(target, "a verdict on another response", row.line)
    for _ in rows:  # their scorers are looked at
        pass


def check_official(target: Path, given: Iterable[Mapping[str, Any]]) -> None:
    """Refuses to replace what is not these rows in the released script's format.

    Raises:
        UsageError: A line holds something else.
    """
    known = (json.loads(dump_line(row)) for row in given)
    for row in _rows(target):
        if "predicted" not in row.fields:
            raise _refused(target, "no predictions", row.line)
        if not any(_is_of(each, row.fields) for each in known):
            raise _refused(target, "a prediction on another response", row.line)


def _own_rows(target: Path, scorer: str) -> Iterator[Row]:
    for row in _rows(target):
        theirs = row.fields.get("scorer")
        if theirs is None:
            raise _refused(target, "no verdicts", row.line)
        if _unversioned(str(theirs)) != scorer:
            raise _refused(target, f"verdicts of {theirs}, not of {scorer}", row.line)
        yield row


def _rows(target: Path) -> Iterator[Row]:
    try:
        yield from read_rows(target, as_is=True)
    except InputError as error:
        raise _refused(target, "no verdicts", error.line) from None


def _is_on(response: Response, line: Mapping[str, Any]) -> bool:
    text = line.get("response")
    return key_of(line) == response.key and (not text or text == response.response)


def _is_of(given: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    kept = (name for name, value in given.items() if value is not None and name != "predicted")
    return all(line.get(name) == given[name] for name in kept)


def _unversioned(scorer_id: str) -> str:
    return scorer_id.rpartition("@")[0] or scorer_id


def _refused(target: Path, what: str, line: int | None) -> UsageError:
    place = f" (line {line})" if line else ""
    return UsageError(
        f"{target}: is there and holds {what}{place}; choose another --out or --overwrite it"
    )
