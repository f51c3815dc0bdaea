"""Rows from JSON Lines and JSON arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from flames.errors import InputError
from flames.storage.decoding import decoded
from flames.storage.foreign.table import rows_in
from flames.storage.text_files import parse_json
from flames.storage.unusable import Unusable


def _lost_number(name: str) -> Unusable:
    return Unusable(f"{name} is not a JSON number; write null where there is no value")


_ENDS = ("\n", "\r\n", "")
DECODER = json.JSONDecoder(parse_constant=_lost_number)
"""Takes NaN and Infinity as `Unusable`."""


def json_object(value: Any, path: str, line: int) -> tuple[int, dict[str, Any]]:
    """Returns a row with its line, after checking that it is an object."""
    if not isinstance(value, dict):
        raise InputError(f"must be a JSON object, not {type(value).__name__}", path=path, line=line)
    return line, value


def json_lines(path: str, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the objects of JSON Lines; NaN and Infinity become `Unusable`."""
    for number, text in _lines(path, encoding):
        if (value := _object(text)) is not None:
            yield number, value
            continue
        text = text.removeprefix("\ufeff")  # files that were put together
        if text.startswith("["):
            message = "must be a JSON object, not list; a file that holds one array is named .json"
            raise InputError(message, path=path, line=number)
        if text.strip():
            try:
                value = parse_json(text.rstrip("\r\n"), path, number, DECODER)
            except InputError as error:
                if text.endswith(("\n", "\r")):
                    raise
                message = f"{error.message}; the file ends here, was it cut off?"
                raise InputError(message, path=path, line=number) from None
            yield json_object(value, path, number)


def _object(text: str) -> dict[str, Any] | None:
    """Returns the object of a line that holds nothing else; None for any other, to be looked at."""
    if text[:1] != "{":
        return None
    try:
        value, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if text[end:] in _ENDS else None


def _lines(path: str, encoding: str | None) -> Iterator[tuple[int, str]]:
    """Yields lines that end with LF, or with CR alone, which JSON holds nowhere in a text."""
    more = 0
    for number, text in decoded(path, encoding):
        if "\r" in text and "\r" in text.rstrip("\r\n"):
            pieces = re.findall(r"[^\r]*\r\n?|[^\r]+", text)
            yield from enumerate(pieces, start=number + more)
            more += len(pieces) - 1
        else:
            yield number + more, text


def json_array(path: str, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the objects of an array, counted from 1, or the only object, or its rows.

    The rows are those of another tool's document.
    """
    text = "".join(line for _, line in decoded(path, encoding))
    try:
        values = parse_json(text, path, None, DECODER)
    except InputError:
        if text.lstrip().startswith("["):
            raise
        yield from json_lines(path, encoding)  # JSON Lines under the name .json is common
        return
    if isinstance(values, dict):
        try:
            values = rows_in(values) or [values]
        except InputError as error:
            raise error.at(path, None) from None
    for number, value in enumerate(values if isinstance(values, list) else [values], start=1):
        yield json_object(value, path, number)
