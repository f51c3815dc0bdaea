"""Documents and tables on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from flames.reports.tables import (
    Cell,
    Document,
    Heading,
    Intervals,
    Line,
    Number,
    Row,
    Stack,
    Strong,
    Table,
    cell_text,
    in_language,
)
from flames.reports.words import say
from flames.taxonomy import Language
from flames.text import for_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as RichText

    _Shown = tuple[str, bool, list[RichText]]  # a column: its title, whether of numbers, its cells

_GAP = 2  # between columns, as rich sets them
_NAME = 12  # columns that a name has at least; a longer one is folded where room is short
_STYLES = {"plain": "", "paragraph": "", "soft": "dim", "note": "yellow"}


def print_document(
    document: Document,
    console: Console,
    lang: Language,
    *,
    intervals: Intervals = "inline",
    fold: bool = True,
) -> None:
    """Prints headings, lines and tables; lines are folded at the console's width by default."""
    from rich.text import Text as RichText

    for block in document:
        match block:
            case Heading():
                console.print(RichText(for_terminal(in_language(block.text, lang)), style="bold"))
            case Line():
                parts = [RichText("! " if block.kind == "note" else "")]
                for cell in block.cells:
                    style = "bold" if isinstance(cell, Strong) else ""
                    parts.append(RichText(cell_text(cell, lang), style=style))
                text = RichText.assemble(*parts, style=_STYLES[block.kind])
                console.print(text, soft_wrap=not fold)
            case Table():
                print_table(block, console, lang, intervals=intervals)


def print_table(
    table: Table, console: Console, lang: Language, *, intervals: Intervals = "inline"
) -> None:
    """Prints a table, in as many parts as the width needs: no number is broken."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    narrow = console.width < table.full_width
    kept = [i for i, column in enumerate(table.columns) if not (narrow and column.wide)]
    shown: list[_Shown] = []
    for i in kept:
        column, cells = table.columns[i], [row.cells[i] for row in table.rows]
        title = for_terminal(in_language(column.short or column.title, lang))
        split = intervals == "column" and any(isinstance(c, Number) and c.interval for c in cells)
        place = "value" if split else intervals
        pairs = zip(table.rows, cells, strict=True)
        texts = [_terminal_cell(row, cell, lang, place, first=i == 0) for row, cell in pairs]
        shown.append((title, not column.text, texts))
        if split:
            spans = [RichText(c.span if isinstance(c, Number) else "") for c in cells]
            shown.append((say("short.interval")(lang), True, spans))
    caption = for_terminal(in_language(table.title, lang))
    widths = [_width(*column) for column in shown]
    ends = [row.ends_section for row in table.rows]
    headed = any(name for name, _, _ in shown)
    for number, part in enumerate(_parts(widths, console.width)):
        title = "" if number else caption
        if not console.is_terminal and (
            lines := _plain_lines(title, [shown[i] for i in part], ends, headed, console.width)
        ):
            console.print(RichText("\n".join(lines)), soft_wrap=True)
            continue
        # Where lines have to be folded, rich would narrow columns of numbers, too, and cut them.
        crowded = _lengths([shown[i] for i in part]) > console.width
        rich = RichTable(
            title=RichText(title) if title else None, title_justify="left",
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0),
            show_header=headed,
        )  # fmt: skip
        for i in part:
            name, numeric, texts = shown[i]
            rich.add_column(
                name,
                justify="right" if numeric else "left",
                overflow="fold",
                width=widths[i] if numeric and crowded else None,
            )
        for position, row in enumerate(table.rows):
            cells_of_row = (shown[i][2][position] for i in part)
            rich.add_row(*cells_of_row, end_section=row.ends_section)
        console.print(rich)


def _lengths(columns: Sequence[_Shown]) -> int:
    """How wide a table is in which nothing is folded."""
    from rich.cells import cell_len

    lines = (
        [name, *(line for c in cells for line in c.plain.split("\n"))] for name, _, cells in columns
    )
    return sum(max(map(cell_len, own)) + _GAP for own in lines) - _GAP


def _plain_lines(
    caption: str,
    columns: Sequence[_Shown],
    ends: Sequence[bool],
    headed: bool,
    room: int,
) -> list[str]:
    """Returns what rich prints of a table without styles, in a tenth of the time.

    It is empty where a cell has to be folded or a name is rich's own markup: that is left to rich.
    """
    from rich.cells import cell_len

    if not ends or any(set("[:\n\t") & set(name) for name, _, _ in columns):
        return []
    cells = [[cell.plain.split("\n") for cell in texts] for _, _, texts in columns]
    widths = [
        max(map(cell_len, [name, *(line for lines in column for line in lines)]))
        for (name, _, _), column in zip(columns, cells, strict=True)
    ]
    whole = sum(widths) + _GAP * (len(widths) - 1)
    if whole > room or cell_len(caption) > whole or not all(widths):
        return []

    def line(texts: Iterable[str]) -> str:
        padded = []
        for text, width, (_, numeric, _) in zip(texts, widths, columns, strict=True):
            text = text.rstrip() if numeric else text
            rest = " " * (width - cell_len(text))
            padded.append(rest + text if numeric else text + rest)
        return (" " * _GAP).join(padded)

    found = [caption + " " * (whole - cell_len(caption))] if caption else []
    if headed:
        found += [line(name for name, _, _ in columns), "─" * whole]
    for row, ending in enumerate(ends):
        found += [line(each) for each in zip_longest(*(c[row] for c in cells), fillvalue="")]
        if ending and row < len(ends) - 1:
            found.append(" " * whole)
    return found


def _terminal_cell(
    row: Row, cell: Cell, lang: Language, intervals: str, *, first: bool
) -> RichText:
    from rich.text import Text as RichText

    text = cell_text(cell, lang)
    strong = isinstance(cell, Strong) or (first and row.strong)
    if isinstance(cell, Stack):
        text, strong = "\n".join(cell.texts), cell.strong
    if isinstance(cell, Number):
        strong = cell.strong or row.strong
        if intervals in ("below", "value"):
            text = "\n".join(filter(None, (cell.value, cell.span if intervals == "below" else "")))
    indent = "  " if first and row.indent else ""
    return RichText(indent + text, style="bold" if strong else "", overflow="fold")


def _width(title: str, numeric: bool, cells: Sequence[RichText]) -> int:
    from rich.cells import cell_len

    lines = [*title.split(), *(line for cell in cells for line in cell.plain.split("\n"))]
    width = max(map(cell_len, lines), default=0)
    return width if numeric else min(width, _NAME)


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns that fit beside each other, each part beginning with the first column."""
    parts: list[list[int]] = [[0]]
    for i in range(1, len(widths)):
        used = sum(widths[j] + _GAP for j in [*parts[-1], i]) - _GAP
        if len(parts[-1]) > 1 and used > room:
            parts.append([0])
        parts[-1].append(i)
    return parts
