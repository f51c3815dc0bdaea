"""Rows of tables: CSV, TSV, and what they share with spreadsheets."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from flames.errors import InputError, notify
from flames.records import Prompt, Response, Verdict
from flames.storage.decoding import decoded
from flames.storage.row_files import JSON_MARK, from_json_cell
from flames.storage.unusable import Unusable
from flames.text import from_cell, is_bare_formula, shown_name

Cells = tuple[int, list[Any]]
"""The number of a row and its cells."""

_OURS = frozenset({"prompt", "predicted", "item", "n"}.union(
    *(model.model_fields for model in (Prompt, Response, Verdict))
))  # fmt: skip
_MARKS = ",\t;|"
_QUOTED = re.compile(r'"(?:[^"]|"")*"?')
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_ROUNDED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+(?:0[5-9]|[1-9]\d)")
_BROKEN = frozenset("#NAME? #REF! #VALUE! #DIV/0! #N/A #NUM! #NULL!".split())
_TITLES = 6  # how far down the names of the columns are looked for


def known_names(mapping: Mapping[str, str]) -> frozenset[str]:
    """Returns names that columns may have: ours, and those that a mapping names."""
    return _OURS.union(mapping.values())


def read_table(
    path: str, delimiter: str | None, encoding: str | None, known: frozenset[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of a CSV or TSV file under the names of its columns."""
    csv.field_size_limit(2**31 - 1)
    lines = _with_line_ends(text for _, text in decoded(path, encoding))
    first = list(islice(lines, _TITLES))
    skipped = 0
    if first and (said := _SEPARATOR.fullmatch(first[0])):  # written for spreadsheet programs
        delimiter, skipped = said[1], 1
        del first[0]
    delimiter = delimiter or _delimiter(first, known)
    reader = csv.reader(chain(first, lines), delimiter=delimiter, strict=True)

    def numbered() -> Iterator[Cells]:
        line = 1
        try:
            for cells in reader:
                yield line + skipped, cells
                line = reader.line_num + 1
        except csv.Error as error:
            what, line = f"is no readable CSV: {error}", line + skipped
            raise InputError(what, path=path, line=line) from None

    yield from under_header(numbered(), path, known)


def _with_line_ends(lines: Iterator[str]) -> Iterator[str]:
    """Splits a table whose rows end with CR alone; LF may stand inside its cells."""
    first = next(lines, "")
    outside = _QUOTED.sub("", first)
    if "\r" not in outside.rstrip("\r\n") or outside.endswith("\n"):
        return chain([first], lines)
    return iter(re.findall(r"[^\r]*\r\n?|[^\r]+", "".join(chain([first], lines))))


def _delimiter(lines: Iterable[str], known: frozenset[str]) -> str:
    """Returns the mark between the names of columns; where none is known, that of the first line.

    Spreadsheet programs save "CSV" with semicolons where the comma is a decimal mark.
    """
    bare = [_QUOTED.sub(lambda quoted: shown_name(quoted[0].strip('"')), line) for line in lines]
    for line in bare:
        for mark in _MARKS:
            if mark in line and known.intersection(map(shown_name, line.split(mark))):
                return mark
    outside = _QUOTED.sub("", next(iter(lines), ""))
    return next((mark for mark in ",\t;" if mark in outside), ",")


def under_header(
    rows: Iterator[Cells], path: str, known: frozenset[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows below the header, with their cells under its names.

    A title above the header is skipped with a notice. The quotes that `for_cell` put before what
    looks like formulas are taken away.
    """
    rows = (row for row in rows if any(str(cell).strip() for cell in row[1]))
    top = list(islice(rows, _TITLES))
    start = _header_at(top, known)
    if start:
        lines = "line 1 is" if top[start][0] == 2 else f"lines 1 to {top[start][0] - 1} are"
        notify(f"{lines} taken for a title", path)
    if not top:
        return
    line, header = top[start][0], [shown_name(str(cell)) for cell in top[start][1]]
    if not any(map(is_bare_formula, header)):
        header = list(map(from_cell, header))
    while header and not header[-1]:
        header.pop()
    if not header:
        raise InputError("has no names of columns", path=path, line=line)
    if repeated := {name for name in header if name and header.count(name) > 1}:
        raise InputError(f"column {min(repeated)!r} is there twice", path=path, line=line)
    for line, cells in _without_guard(chain(top[start + 1 :], rows)):
        while len(cells) > len(header) and cells[-1] == "":
            cells.pop()
        if len(cells) > len(header):
            hint = "is a quote missing?" if len(header) > 1 else "is that line a title? delete it"
            message = f"has {len(cells)} cells, the header {len(header)}; {hint}"
            raise InputError(message, path=path, line=line)
        named = zip(header, cells, strict=False)
        yield line, dict(_field(name, cell, path, line) for name, cell in named if name)


def _field(name: str, cell: Any, path: str, line: int) -> tuple[str, Any]:
    if not name.endswith(JSON_MARK):
        return name, _checked(cell)
    name = name.removesuffix(JSON_MARK)
    try:
        return name, from_json_cell(cell, name)
    except InputError as error:
        raise error.at(path, line) from None


def _header_at(top: list[Cells], known: frozenset[str]) -> int:
    """Returns the place of the row with names that we know, else 0."""
    names = [known.intersection(shown_name(str(cell)) for cell in cells) for _, cells in top]
    if not names or names[0]:
        return 0
    return next((place for place, found in enumerate(names) if len(found) > 1), 0)


def _without_guard(rows: Iterator[Cells]) -> Iterator[Cells]:
    """Undoes `for_cell` in the columns that it wrote: those without a bare formula.

    From the first cell on that it may have written, the rest of the table is looked through.
    """
    bare: set[int] = set()
    for row in rows:
        guarded = _look(row, bare)
        if guarded - bare:
            break
        yield row
    else:
        return
    rest = [row, *rows]
    for row in rest:
        _look(row, bare)
    for line, cells in rest:
        yield (
            line,
            [
                from_cell(cell) if isinstance(cell, str) and place not in bare else cell
                for place, cell in enumerate(cells)
            ],
        )


def _look(row: Cells, bare: set[int]) -> set[int]:
    """Returns the columns with a guarded cell, and adds those with a bare formula to `bare`."""
    guarded = set()
    for place, cell in enumerate(row[1]):
        if isinstance(cell, str) and cell:
            if cell[0] == "'":
                if from_cell(cell) != cell:
                    guarded.add(place)
            elif is_bare_formula(cell):
                bare.add(place)
    return guarded


def _checked(cell: Any) -> Any:
    """Returns a cell, or why a spreadsheet program left nothing of it that can be used."""
    if not isinstance(cell, str) or len(cell) > 30:
        return cell
    if cell in _BROKEN:
        why = f"a spreadsheet took the text for a formula and put {cell} in its place"
        return Unusable(f"{why}; take it from the file before that", cell)
    if "E+" in cell and _ROUNDED.fullmatch(cell.strip()):
        why = f"a spreadsheet made {cell} of a long number"
        return Unusable(f"{why}; format the column as text there, and save again", cell)
    return cell
