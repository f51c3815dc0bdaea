"""Where in a JSON text a value stands, so that an error can name its line."""

from __future__ import annotations

from collections.abc import Sequence
from json import JSONDecoder
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

_DECODER = JSONDecoder()


def line_of(text: str, path: Sequence[Any]) -> int:
    """The line, from 1, on which the value at `path` starts; of the deepest part that is there.

    Args:
        text: Valid JSON.
        path: Keys and positions from the outermost value inwards.
    """
    at = _skip(text, 0)
    for part in path:
        found = _entries(text, at).get(part)
        if found is None:
            break
        at = found
    return text.count("\n", 0, at) + 1


def _skip(text: str, at: int, marks: str = " \t\r\n") -> int:
    while at < len(text) and text[at] in marks:
        at += 1
    return at


def _entries(text: str, at: int) -> dict[Any, int]:
    """Where the values of the object or array at `at` start, by key or position."""
    places: dict[Any, int] = {}
    if text[at] not in "{[":
        return places
    is_object = text[at] == "{"
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        key: Any = len(places)
        if is_object:
            key, at = scanstring(text, at + 1)
            at = _skip(text, at, " \t\r\n:")
        places[key] = at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at, " \t\r\n,")
    return places
