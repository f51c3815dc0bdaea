"""Tables of documents as pandas DataFrames, with numbers where a page shows text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from flames.errors import UsageError
from flames.metrics.result import Estimate
from flames.metrics.tabular import to_frame
from flames.reports.tables import Block, Cell, Heading, Number, Share, Table, cell_text, in_language
from flames.taxonomy import Language

if TYPE_CHECKING:
    from pandas import DataFrame


@runtime_checkable
class Documented(Protocol):
    """A report, comparison, trend or certificate: something that is described as a document."""

    lang: Language

    def document(self) -> Iterable[Block]:
        """Returns its headings, lines and tables."""


def to_frames(
    what: Documented | Iterable[Block], lang: Language | None = None
) -> dict[str, DataFrame]:
    """Returns every table of a report or document as a DataFrame, by its title.

    A number with an interval has three columns (`… low` and `… high`), a share two (`… of`). A
    table without a title has that of the heading above it.

    Args:
        what: What `report`, `compare`, `trend` or `certify` return, or the blocks of a document.
        lang: Language of titles and words; the report's, else English.
    """
    if isinstance(what, Documented):
        lang = lang or what.lang
        blocks = what.document()
    elif isinstance(what, Iterable):
        blocks = what
    else:
        raise UsageError(f"{type(what).__name__} has no tables")
    lang = lang or "en"
    frames: dict[str, DataFrame] = {}
    heading = ""
    for block in blocks:
        if isinstance(block, Heading):
            heading = in_language(block.text, lang)
        elif isinstance(block, Table):
            title = in_language(block.title, lang) or heading or "table"
            frames[_free(title, frames)] = _frame(block, lang)
    return frames


def _free(name: str, taken: Iterable[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _frame(table: Table, lang: Language) -> DataFrame:
    columns: dict[str, list[Any]] = {}
    for place, column in enumerate(table.columns):
        title = _free(in_language(column.title, lang) or "name", columns)
        cells = [dict(_values(row.cells[place], lang)) for row in table.rows]
        for part in dict.fromkeys(["", *(part for cell in cells for part in cell)]):
            columns[title + part] = [cell.get(part) for cell in cells]
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return to_frame((dict(zip(names, row, strict=True)) for row in rows), names)


def _values(cell: Cell, lang: Language) -> Iterator[tuple[str, Any]]:
    """Yields what a cell holds, by what is added to the column's name."""
    match cell:
        case None:
            yield "", None
        case int():
            yield "", cell
        case Number(of=Estimate() as estimate):
            yield "", estimate.value
            yield " low", estimate.low
            yield " high", estimate.high
        case Number():
            yield "", cell.of
        case Share():
            yield "", cell.part
            yield " of", cell.whole
        case _:
            yield "", cell_text(cell, lang)
