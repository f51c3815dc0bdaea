"""Rows from JSON Lines, JSON, CSV, TSV and XLSX files, one at a time, each with its line number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from flames.errors import InputError
from flames.storage.json_rows import json_array, json_lines
from flames.storage.mapping import rename
from flames.storage.sheets import SUFFIXES, read_sheet
from flames.storage.tables import known_names, read_table
from flames.storage.text_files import without_gz


class Row(NamedTuple):
    """One row of a file: its line (or sheet row), counted from 1, and its fields."""

    line: int
    fields: dict[str, Any]


def read_rows(
    path: str | os.PathLike[str],
    *,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> Iterator[Row]:
    """Yields the rows of a file; its name gives the format (`-` is JSON Lines on stdin).

    A value that was lost before the file came to us is an `Unusable`; see `usable`.

    Args:
        path: A `.jsonl`, `.json` (an array of objects), `.csv`, `.tsv` or `.xlsx` file. Any
            other name is read as JSON Lines; `.gz` may follow. A `.csv` without a comma in its
            first line may have tabs or semicolons instead.
        mapping: Our field name → the file's; a dot reaches into objects (`data.text`).
        encoding: By default UTF-8, or UTF-16 if the file begins with its byte order mark.
        sheet: The sheet of a spreadsheet, by name or number; the first with rows by default.
    """
    name = os.fspath(path)
    mapping = mapping or {}
    suffix = without_gz(name).suffix.lower()
    if suffix in SUFFIXES:
        rows = read_sheet(name, sheet, known_names(mapping))
    elif suffix in {".csv", ".tsv"}:
        delimiter = "\t" if suffix == ".tsv" else None
        rows = read_table(name, delimiter, encoding, known_names(mapping))
    elif suffix == ".json":
        rows = json_array(name, encoding)
    else:
        rows = json_lines(name, encoding)
    return _renamed(rows, mapping, name)


def _renamed(
    rows: Iterable[tuple[int, dict[str, Any]]], mapping: Mapping[str, str], path: str
) -> Iterator[Row]:
    for line, fields in rows:
        try:
            yield Row(line, rename(fields, mapping) if mapping else fields)
        except InputError as error:
            raise error.at(path, line) from None
