"""Rows of spreadsheets: XLSX and its relatives, XLS and ODS."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple

from flames.errors import InputError, notify
from flames.options import listed
from flames.storage.tables import under_header
from flames.storage.text_files import open_binary
from flames.storage.unusable import Unusable

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

SUFFIXES = frozenset({".xlsx", ".xlsm", ".xls", ".ods"})
_EXACT = 10**15  # spreadsheets keep 15 digits of a number
_BOOK = "xl/workbook.xml"
_SUSPECT = re.compile(rb"""<(?:\w+:)?f[ >/]|\st=["']e["']""")
_MARKS = (b"<f", b":f ", b":f>", b't="e"', b"t='e'")  # found ten times as fast
_CELL = re.compile(rb"<(?:\w+:)?c(\s[^>]*?)(?:/>|>(.*?)</(?:\w+:)?c>)", re.DOTALL)
_PLACE = re.compile(rb"""\sr=["']([A-Z]+)(\d+)["']""")
_KIND = re.compile(rb"""\st=["'](\w+)["']""")
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_VALUE = re.compile(rb"<(?:\w+:)?v(?:\s[^>]*)?>([^<]+)<")
_SHEET = re.compile(r"<(?:\w+:)?sheet\s([^>]*)>")
_LINK = re.compile(r"<(?:\w+:)?Relationship\s([^>]*)>")
_ATTRIBUTE = re.compile(r"""(?:\w+:)?(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


class _Grid(NamedTuple):
    """A sheet's cells, and the row and column (from 0) at which they begin."""

    name: str
    row: int
    column: int
    cells: list[list[Any]]


def read_sheet(
    path: str, sheet: str | None, known: frozenset[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of one sheet under the names of its columns.

    `sheet` is a name, or a number from 1. By default it is the first that is not empty, and a
    notice names the others.
    """
    from python_calamine import CalamineWorkbook

    with open_binary(path) as file:
        packed = file.read(2) == b"PK"
    try:
        with CalamineWorkbook.from_path(path) as book:
            grid = _grid(_chosen(book, sheet, path))
        lost = list(_lost(path, grid.name)) if packed else []
    except InputError:
        raise
    except Exception as error:  # calamine's exceptions have no common public base
        what = f"is no readable spreadsheet: {error}; name it .csv or .tsv if it is text"
        raise InputError(what, path=path) from None
    for row, column, value in lost:
        row, column = row - grid.row, column - grid.column
        if 0 <= row < len(grid.cells) and 0 <= column < len(grid.cells[row]):
            grid.cells[row][column] = value
    yield from under_header(enumerate(grid.cells, start=grid.row + 1), path, known)


def _chosen(book: CalamineWorkbook, sheet: str | None, path: str) -> CalamineSheet:
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    names = [each.name for each in book.sheets_metadata if each.typ == SheetTypeEnum.WorkSheet]
    if sheet is not None:
        if sheet not in names and sheet.isdecimal() and 0 < int(sheet) <= len(names):
            sheet = names[int(sheet) - 1]
        if sheet not in names:
            raise InputError(f"has no sheet {sheet!r}; there are: {', '.join(names)}", path=path)
        return book.get_sheet_by_name(sheet)
    shown = {m.name for m in book.sheets_metadata if m.visible == SheetVisibleEnum.Visible}
    filled = [each for each in map(book.get_sheet_by_name, names) if each.height]
    filled = [each for each in filled if each.name in shown] or filled
    if not filled:
        return book.get_sheet_by_index(0)
    if len(filled) > 1:
        others = listed(each.name for each in filled[1:])
        notify(f"only the sheet {filled[0].name} is read, not {others}; --sheet chooses", path)
    return filled[0]


def _grid(sheet: CalamineSheet) -> _Grid:
    row, column = sheet.start or (0, 0)
    return _Grid(sheet.name, row, column, [list(map(_plain, r)) for r in sheet.iter_rows()])


def _plain(cell: Any) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():  # spreadsheets have no whole numbers
        whole = int(cell)
        if abs(whole) < _EXACT:
            return whole
        why = f"a spreadsheet rounded a long number to {cell:.14E}"
        return Unusable(f"{why}; format the column as text before it is filled", whole)
    return cell if isinstance(cell, str | int | float) else str(cell)


def _lost(path: str, sheet: str) -> Iterator[tuple[int, int, Unusable]]:
    """Yields the cells of XLSX that the reader takes for empty, though there is something."""
    with zipfile.ZipFile(path) as archive:
        part = _part(archive, sheet)
        raw = b"" if part is None else archive.read(part)
    suspect = any(mark in raw for mark in _MARKS) and _SUSPECT.search(raw)
    for cell in _CELL.finditer(raw) if suspect else ():
        place = _PLACE.search(cell[1])
        why = _why_lost(cell[1], cell[2] or b"")
        if place and why:
            name = (place[1] + place[2]).decode("ascii")
            yield int(place[2]) - 1, _number(place[1]), Unusable(f"{name} {why}")


def _why_lost(attributes: bytes, content: bytes) -> str | None:
    value = _VALUE.search(content)
    kind = _KIND.search(attributes)
    if kind is not None and kind[1] == b"e":
        shown = value[1].decode("utf-8", "replace") if value else "an error"
        return f"shows {shown}, which took the place of a text; put the text there again"
    if value is None and _FORMULA.search(content) and (kind is None or kind[1] != b"str"):
        cure = "open the file in a spreadsheet program and save it"
        return f"holds a formula without its value; {cure}"
    return None


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number - 1


def _part(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """Returns the name of the file inside XLSX that holds a sheet; None in other formats."""
    if _BOOK not in archive.namelist():
        return None
    links = {
        unescape(of["name"]): of["id"]
        for of in map(_attributes, _SHEET.findall(archive.read(_BOOK).decode("utf-8")))
        if "name" in of and "id" in of
    }
    text = archive.read("xl/_rels/workbook.xml.rels").decode("utf-8")
    targets = {of.get("Id"): of.get("Target", "") for of in map(_attributes, _LINK.findall(text))}
    target = targets.get(links.get(sheet))
    if target is None:
        return None
    return posixpath.normpath(posixpath.join("/xl", unescape(target))).lstrip("/")


def _attributes(element: str) -> dict[str, str]:
    return {name: first or second for name, first, second in _ATTRIBUTE.findall(element)}
