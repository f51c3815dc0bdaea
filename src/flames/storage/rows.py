"""Rows from JSON Lines, JSON, CSV, TSV and XLSX files, one at a time, each with its line number."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from flames.errors import InputError, UsageError
from flames.storage.mapping import rename
from flames.storage.text_files import STDIN, open_binary, parse_json

_SHEETS = {".xlsx", ".xlsm", ".xls", ".ods"}
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Row(NamedTuple):
    """One row of a file: its line (or sheet row), counted from 1, and its fields."""

    line: int
    fields: dict[str, Any]


def read_rows(
    path: str | os.PathLike[str],
    *,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> Iterator[Row]:
    """Yields the rows of a file; its name gives the format (`-` is JSON Lines on stdin).

    Args:
        path: A `.jsonl`, `.json` (an array of objects), `.csv`, `.tsv` or `.xlsx` file. Any
            other name is read as JSON Lines; `.gz` may follow. A `.csv` without a comma in its
            first line may have tabs or semicolons instead.
        mapping: Our field name → the file's; a dot reaches into objects (`data.text`).
        encoding: By default UTF-8, or UTF-16 if the file begins with its byte order mark.
    """
    name = os.fspath(path)
    suffix = _without_gz(name).suffix.lower()
    if suffix in _SHEETS:
        rows = _sheet(name)
    elif suffix in {".csv", ".tsv"}:
        rows = _table(name, "\t" if suffix == ".tsv" else None, encoding)
    elif suffix == ".json":
        rows = _array(name, encoding)
    else:
        rows = _lines(name, encoding)
    return _renamed(rows, mapping, name) if mapping else rows


def _without_gz(path: str) -> Path:
    name = Path(path)
    return name.with_suffix("") if name.suffix.lower() == ".gz" else name


def stem_of(path: str | os.PathLike[str]) -> str:
    """Returns the file's name without the suffixes of its format."""
    name = os.fspath(path)
    return "stdin" if name == STDIN else _without_gz(name).stem


def _renamed(rows: Iterable[Row], mapping: Mapping[str, str], path: str) -> Iterator[Row]:
    for line, fields in rows:
        try:
            yield Row(line, rename(fields, mapping))
        except InputError as error:
            raise error.at(path, line) from None


@contextmanager
def _unpacked(path: str) -> Iterator[IO[bytes]]:
    with open_binary(path) as file:
        if path == STDIN or Path(path).suffix.lower() != ".gz":
            yield file
            return
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[misc]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"is no whole gzip file: {error}", path=path) from None


def _decoded(path: str, encoding: str | None) -> Iterator[tuple[int, str]]:
    codec = encoding or "utf-8"
    wide = re.match(r"utf[-_ ]?(16|32)", codec, re.IGNORECASE) is not None
    with _unpacked(path) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
                if raw.startswith(_ZIP):
                    raise InputError("is a ZIP or Excel file; name it .xlsx", path=path)
                if encoding is None and raw.startswith(_UTF_16_MARKS):
                    codec, wide = "utf-16", True
                if wide:  # a line break has several bytes there
                    whole = _text(raw + file.read(), codec, encoding, path, 1)
                    lines = io.StringIO(whole.removeprefix("\ufeff"), newline="\n")
                    yield from enumerate(lines, start=1)
                    return
            if b"\x00" in raw and encoding is None:
                raise InputError("is a binary file, not text", path=path, line=number)
            yield number, _text(raw, codec, encoding, path, number)


def _text(raw: bytes, codec: str, given: str | None, path: str, line: int) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        hint = "--encoding gb18030 may help" if given is None else "try another one"
        raise InputError(f"is not text in {codec.upper()}; {hint}", path=path, line=line) from None
    except LookupError:
        raise UsageError(f"unknown encoding {given!r}") from None


def _object(value: Any, path: str, line: int) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"must be a JSON object, not {type(value).__name__}", path=path, line=line)
    return Row(line, value)


def _lines(path: str, encoding: str | None) -> Iterator[Row]:
    for number, text in _decoded(path, encoding):
        if text.startswith("["):
            message = "must be a JSON object, not list; a file that holds one array is named .json"
            raise InputError(message, path=path, line=number)
        if text.strip():
            try:
                value = parse_json(text.rstrip("\r\n"), path, number)
            except InputError as error:
                if text.endswith("\n"):
                    raise
                message = f"{error.message}; the file ends here, was it cut off?"
                raise InputError(message, path=path, line=number) from None
            yield _object(value, path, number)


def _array(path: str, encoding: str | None) -> Iterator[Row]:
    text = "".join(line for _, line in _decoded(path, encoding))
    try:
        values = parse_json(text, path, None)
    except InputError:
        if text.lstrip().startswith("["):
            raise
        yield from _lines(path, encoding)  # JSON Lines under the name .json is common
        return
    for number, value in enumerate(values if isinstance(values, list) else [values], start=1):
        yield _object(value, path, number)


def _under_header(rows: Iterable[tuple[int, list[Any]]], path: str) -> Iterator[Row]:
    header: list[str] | None = None
    for line, cells in rows:
        if not any(str(cell).strip() for cell in cells):
            continue
        if header is None:
            header = [str(cell).strip() for cell in cells]
            while not header[-1]:
                header.pop()
            if repeated := {name for name in header if name and header.count(name) > 1}:
                raise InputError(f"column {min(repeated)!r} is there twice", path=path, line=line)
            continue
        while len(cells) > len(header) and cells[-1] == "":
            cells.pop()
        if len(cells) > len(header):
            message = f"has {len(cells)} cells, the header {len(header)}; is a quote missing?"
            raise InputError(message, path=path, line=line)
        named = zip(header, cells, strict=False)
        yield Row(line, {name: cell for name, cell in named if name})


def _table(path: str, delimiter: str | None, encoding: str | None) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    lines = (text for _, text in _decoded(path, encoding))
    first = next(lines, "")
    if delimiter is None:  # as spreadsheet programs save "CSV" where the comma is a decimal mark
        delimiter = next((mark for mark in ",\t;" if mark in first), ",")
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)

    def numbered() -> Iterator[tuple[int, list[Any]]]:
        line = 1
        try:
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"is no readable CSV: {error}", path=path, line=line) from None

    yield from _under_header(numbered(), path)


def _sheet(path: str) -> Iterator[Row]:
    from python_calamine import CalamineWorkbook

    with open_binary(path):
        pass  # for our own messages about missing files and directories
    try:
        with CalamineWorkbook.from_path(path) as book:
            sheet = book.get_sheet_by_index(0)
            first = sheet.start[0] + 1 if sheet.start else 1
            rows = [["" if c is None else _plain(c) for c in cells] for cells in sheet.iter_rows()]
    except Exception as error:  # calamine's exceptions have no common public base
        raise InputError(f"is no readable spreadsheet: {error}", path=path) from None
    yield from _under_header(enumerate(rows, start=first), path)


def _plain(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)  # spreadsheets have no whole numbers
    return cell if isinstance(cell, str | int | float) else str(cell)
