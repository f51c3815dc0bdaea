"""Rows of a file in any format, one at a time, each with its line number.

Result files of other tools (`flames.storage.foreign`) are recognised here, for every command.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, starmap
from typing import Any, NamedTuple

from flames.errors import InputError
from flames.storage.foreign import eval_archive, parquet
from flames.storage.foreign.table import converted, format_of
from flames.storage.json_rows import json_array, json_lines, json_object
from flames.storage.mapping import rename
from flames.storage.sheets import SUFFIXES, read_sheet
from flames.storage.tables import known_names, read_table
from flames.storage.text_files import open_binary, without_gz

_ZIP = b"PK\x03\x04"


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
    as_is: bool = False,
) -> Iterator[Row]:
    """Yields the rows of a file; its name gives the format (`-` is JSON Lines on stdin).

    A value that was lost before the file came to us is an `Unusable`; see `usable`. A result file
    of another tool is recognised by its shape and gives rows with our field names, and `read_as`.

    Args:
        path: A `.jsonl`, `.json` (an array of objects), `.csv`, `.tsv`, `.xlsx` or `.parquet`
            file, or an `.eval` archive. Any other name is read as JSON Lines; `.gz` may follow. A
            `.csv` without a comma in its first line may have tabs or semicolons instead.
        mapping: Our field name → the file's; a dot reaches into objects (`data.text`).
        encoding: By default UTF-8, or UTF-16 if the file begins with its byte order mark.
        sheet: The sheet of a spreadsheet, by name or number; the first with rows by default.
        as_is: Leave the rows of other tools as they are.
    """
    name = os.fspath(path)
    mapping = mapping or {}
    rows = _plain_rows(name, encoding, sheet, mapping)
    first = next(rows, None)
    if first is None:
        return
    rows = chain([first], rows)
    form = None if as_is else format_of(first[1])
    if form is not None:
        yield from starmap(Row, converted(rows, form, name, mapping))
    else:
        yield from _renamed(rows, mapping, name)


def _plain_rows(
    name: str, encoding: str | None, sheet: str | None, mapping: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = without_gz(name).suffix.lower()
    start = _first_bytes(name)
    if suffix in SUFFIXES:
        return iter(read_sheet(name, sheet, known_names(mapping)))
    if suffix == ".parquet" or start == parquet.MARK:
        return enumerate(parquet.rows_of(name), start=1)
    if suffix == ".eval" or start == _ZIP:
        samples = enumerate(eval_archive.samples(name), start=1)
        return (json_object(sample, name, number) for number, sample in samples)
    if suffix in {".csv", ".tsv"}:
        delimiter = "\t" if suffix == ".tsv" else None
        return iter(read_table(name, delimiter, encoding, known_names(mapping)))
    return json_array(name, encoding) if suffix == ".json" else json_lines(name, encoding)


def _first_bytes(path: str) -> bytes:
    if not os.path.isfile(path):  # a pipe is read once
        return b""
    with open_binary(path) as file:
        return file.read(len(_ZIP))


def _renamed(
    rows: Iterable[tuple[int, dict[str, Any]]], mapping: Mapping[str, str], path: str
) -> Iterator[Row]:
    for line, fields in rows:
        try:
            yield Row(line, rename(fields, mapping) if mapping else fields)
        except InputError as error:
            raise error.at(path, line) from None
