"""Tables for other programs: rows as Parquet and as Excel workbooks, which read back exactly.

Cells that hold lists or objects are JSON: in a column that is called `name:json` in a workbook, and
in a column that is marked so in Parquet.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from flames.errors import InputError, need_extra
from flames.records import dump_line
from flames.text import for_cell, shorten, utf8_safe

TableForm = Literal["xlsx", "parquet"]

JSON_MARK = ":json"
"""What the name of a column ends with whose cells are JSON."""

PARQUET_JSON = {b"flames": b"json"}
"""What marks such a column in Parquet."""

_ROWS, _CELL = 1_048_576, 32_767  # what a worksheet holds
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f]|_x(?=[0-9A-Fa-f]{4}_)")
_NO_XML = re.compile("[\ufffe\uffff]")
_EXACT = 10**15  # spreadsheets keep 15 digits of a number


def table_bytes(
    rows: Iterable[Mapping[str, Any]], form: TableForm, columns: Sequence[str] | None = None
) -> bytes:
    """Returns rows as a file; the columns are those of all rows unless they are given."""
    listed = list(rows)
    names = list(columns or dict.fromkeys(name for row in listed for name in row))
    lists = (list, tuple, dict)
    nested = {name for name in names if any(isinstance(row.get(name), lists) for row in listed)}
    return (_xlsx if form == "xlsx" else _parquet)(listed, names, nested)


def _parquet(rows: list[Mapping[str, Any]], names: list[str], nested: set[str]) -> bytes:
    need_extra("table", "writing Parquet", "pyarrow.parquet")
    import pyarrow
    from pyarrow import parquet

    fields, arrays = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        mark = None
        if name in nested or (len(kinds) > 1 and kinds != {int, float}):
            values, kinds, mark = [_json(value) for value in values], {str}, PARQUET_JSON
        if kinds <= {str}:
            values = [None if value is None else utf8_safe(value) for value in values]
        array = pyarrow.array(values, pyarrow.string() if kinds <= {str} else None)
        fields.append(pyarrow.field(name, array.type, metadata=mark))
        arrays.append(array)
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays, schema=pyarrow.schema(fields)), buffer)
    return buffer.getvalue()


def _xlsx(rows: list[Mapping[str, Any]], names: list[str], nested: set[str]) -> bytes:
    need_extra("table", "writing XLSX", "openpyxl")
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    if len(rows) >= _ROWS:
        raise InputError(f"a worksheet holds {_ROWS - 1:,} rows, not {len(rows):,}: use parquet")
    header = [_cell(name + JSON_MARK * (name in nested), "a column's name") for name in names]
    cells = [header]  # all of them are checked before a file is begun
    for row in rows:
        values = (_json(row.get(name)) if name in nested else row.get(name) for name in names)
        cells.append([_cell(value, name) for value, name in zip(values, names, strict=True)])
    book = Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    sheet.freeze_panes = "A2"
    for line in cells:
        made = []
        for value in line:
            made.append(WriteOnlyCell(sheet, None if isinstance(value, str) else value))
            if isinstance(value, str):  # never a formula, whatever it begins with
                made[-1].value, made[-1].data_type = value, "s"
        sheet.append(made)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _cell(value: Any, name: str) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT:
        value = str(value)
    if not isinstance(value, str):
        return value
    safe = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", utf8_safe(value))
    text = _ESCAPED.sub(_escape, str(for_cell(safe)))  # programs copy cells to CSV
    if len(text) > _CELL:
        what = f"a cell holds {_CELL:,} characters, and {name} has more: {shorten(value, 40)}"
        raise InputError(f"{what}; use parquet, or jsonl")
    return text


def _escape(found: re.Match[str]) -> str:
    """Writes a character as workbooks do, `_x0007_`, and so the `_` of a text that looks so."""
    return f"_x{ord(found[0][0]):04X}_{found[0][1:]}"


def _json(value: Any) -> str | None:
    return None if value is None else dump_line(value)


def from_json_cell(cell: Any, name: str) -> Any:
    """Returns what a cell of a JSON column holds."""
    if cell is None or cell == "":
        return None
    try:
        return json.loads(cell)
    except (TypeError, ValueError):
        what = f"is called {name}{JSON_MARK}, but holds no JSON: {shorten(repr(cell), 40)}"
        raise InputError(what, field=name) from None
