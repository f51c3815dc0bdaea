"""Columns of a file under our names: `--map prompt=data.question`, dots reaching into objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from flames.errors import InputError, UsageError
from flames.text import shorten

MISSING = object()


def parse_mapping(spec: str | None) -> dict[str, str]:
    """Reads `prompt=问题,response=回答` as `{"prompt": "问题", "response": "回答"}`."""
    mapping: dict[str, str] = {}
    for part in (spec or "").split(","):
        if not part.strip():
            continue
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not (field and equals and column):
            raise UsageError(f"--map takes FIELD=COLUMN,FIELD=COLUMN,…, not {part.strip()!r}")
        if field in mapping:
            raise UsageError(f"--map names the field {field!r} twice")
        mapping[field] = column
    return mapping


def value_at(fields: Mapping[str, Any] | list[Any], column: str) -> Any:
    """Returns the value of a column; `data.text` is `text` in the object `data`, else `MISSING`.

    A column whose own name has that dot comes first. In a list, numbers count from 0.
    """
    if isinstance(fields, list):
        fields = {str(number): value for number, value in enumerate(fields)}
    if column in fields:
        return fields[column]
    for dot, char in enumerate(column):
        inner = fields.get(column[:dot]) if char == "." else None
        if isinstance(inner, Mapping | list):
            value = value_at(inner, column[dot + 1 :])
            if value is not MISSING:
                return value
    return MISSING


def rename(fields: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Returns the fields of a row under our names; objects that a dotted name reaches into stay.

    A list of one value stands for that value (`resps: [["text"]]`).
    """
    values = {field: value_at(fields, column) for field, column in mapping.items()}
    for field, value in values.items():
        if value is MISSING:
            column = mapping[field]
            known = listed_columns(fields, 40)
            raise InputError(f"no column {column!r} (--map {field}={column}); columns: {known}")
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        values[field] = value
    columns = set(mapping.values())
    return {name: value for name, value in fields.items() if name not in columns} | values


def listed_columns(fields: Mapping[str, Any], most: int = 12) -> str:
    """Lists the columns of a row, those inside objects with their dots."""
    names = [shorten(name, 30) for name in islice(_names(fields), most + 1)]
    return ", ".join(names[:most] + ["…"] * (len(names) > most))


def columns_there(fields: Mapping[str, Any], missing: str) -> str:
    """Lists the columns of a row that lacks a field, and says how to map one to it."""
    there = listed_columns(fields) or "no fields"
    return f"there are {there}; --map {missing}=NAME says which one it is"


def _names(fields: Mapping[str, Any], above: str = "", depth: int = 3) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, Mapping) and value and depth > 1:
            yield from _names(value, f"{above}{name}.", depth - 1)
        else:
            yield f"{above}{name}"


def mapped_fields(rows: Iterable[Mapping[str, Any]], mapping: Mapping[str, str]) -> set[str]:
    """Returns those of our fields whose columns some of the rows have."""
    found: set[str] = set()
    for fields in rows:
        found |= {f for f, column in mapping.items() if value_at(fields, column) is not MISSING}
        if len(found) == len(mapping):
            break
    return found
