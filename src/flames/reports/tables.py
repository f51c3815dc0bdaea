"""One model of tables and documents, and its renderers for Markdown and HTML; see `printing`, too.

A table is described once, a line per column; renderers turn its typed cells into text:

    columns = [
        Column(say("eval.model"), lambda model: model.name, text=True),
        Column(say("eval.accuracy"), lambda model: Number(model.accuracy)),
    ]
    print_table(Table.of(say("eval.models"), columns, models), console, "en")

Texts may come from models and files; every renderer escapes them for its form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from flames.metrics.result import Estimate, format_interval, format_number
from flames.reports.words import DASH, say
from flames.taxonomy import Language, Text
from flames.text import for_markdown, for_terminal

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Number:
    """A number, with its interval where it has one; None is a dash."""

    of: Estimate | float | None
    digits: int = 1
    interval_digits: int | None = None  # as many as the number's unless given
    sign: bool = False  # show + as well as −
    strong: bool = False
    unit: str = ""
    shown: Literal["both", "interval"] = "both"

    @property
    def value(self) -> str:
        """The number without its interval."""
        if self.shown == "interval":
            return ""
        if self.of is None:
            return DASH
        value = self.of.value if isinstance(self.of, Estimate) else self.of
        return format_number(value, self.digits, sign=self.sign) + self.unit

    @property
    def interval(self) -> str:
        """`[10.1, 14.5]`; nothing where there is none."""
        if not isinstance(self.of, Estimate):
            return ""
        digits = self.digits if self.interval_digits is None else self.interval_digits
        return format_interval(self.of, digits, sign=self.sign)

    @property
    def span(self) -> str:
        """`10.1–14.5`, for a terminal; in brackets where a minus sign would be misread."""
        if isinstance(self.of, Estimate) and not self.sign and self.of.low >= 0:
            return self.interval.strip("[]").replace(", ", DASH)
        return self.interval

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True)
class Share:
    """How many of how many, with a remark where there is room for it."""

    part: int
    whole: int
    remark: Text | None = None


@dataclass(frozen=True)
class Strong:
    """Words in bold."""

    text: Text | str


@dataclass(frozen=True)
class Stack:
    """Short texts on top of each other, or behind each other where a form has one line."""

    texts: tuple[str, ...]
    strong: bool = False


Cell = Text | str | int | Number | Share | Strong | Stack | None
"""Words in both languages, untrusted text, a count, a number with its interval, …; None: a dash."""


@dataclass(frozen=True)
class Column(Generic[_Item]):
    """One column of a table: its title, and what it shows of an item."""

    title: Text | str
    cell: Callable[[_Item], Cell]
    text: bool = False  # words, on the left; otherwise numbers, on the right
    short: Text | str | None = None  # the title on a terminal
    wide: bool = False  # left out on a terminal narrower than the table's `full_width`


@dataclass(frozen=True)
class Row:
    """The cells of an item; `strong` puts its name in bold, `indent` moves it to the right."""

    cells: tuple[Cell, ...]
    strong: bool = False
    indent: bool = False
    ends_section: bool = False


@dataclass(frozen=True)
class Table:
    """A table of typed cells; the first column holds the rows' names."""

    title: Text | str
    columns: tuple[Column[Any], ...]
    rows: tuple[Row, ...]
    full_width: int = 0

    @classmethod
    def of(
        cls,
        title: Text | str,
        columns: Iterable[Column[_Item]],
        items: Iterable[_Item],
        *,
        style: Callable[[_Item], dict[str, bool]] = lambda item: {},
        full_width: int = 0,
    ) -> Table:
        """Builds a table with a row per item; `style` gives fields of its `Row`."""
        columns = tuple(columns)
        rows = tuple(Row(tuple(c.cell(item) for c in columns), **style(item)) for item in items)
        return cls(title, columns, rows, full_width)

    @classmethod
    def of_cells(
        cls,
        title: Text | str,
        header: Iterable[Text | str],
        rows: Iterable[Sequence[Cell]],
        *,
        text: int = 1,
    ) -> Table:
        """Builds a table from its cells; the first `text` columns hold words."""
        columns = (
            Column[Any](name, lambda row, i=i: row[i], text=i < text)  # type: ignore[misc]
            for i, name in enumerate(header)
        )
        return cls.of(title, columns, rows)


@dataclass(frozen=True)
class Heading:
    """A heading of a document."""

    text: Text | str
    level: int = 1


Kind = Literal["plain", "soft", "note", "paragraph"]


@dataclass(frozen=True)
class Line:
    """A line of a document, made of cells; a `note` is a warning, `soft` is small print."""

    cells: tuple[Cell, ...]
    kind: Kind = "plain"


Block = Heading | Line | Table
Document = Iterable[Block]
Intervals = Literal["inline", "below", "column"]


def line(*cells: Cell, kind: Kind = "plain") -> Line:
    """Returns a line of a document."""
    return Line(cells, kind)


def in_language(text: Text | str, lang: Language) -> str:
    """Returns words in one language."""
    return text(lang) if isinstance(text, Text) else text


def cell_text(cell: Cell, lang: Language) -> str:
    """Returns a cell as plain text, safe for a terminal."""
    match cell:
        case None:
            return DASH
        case int():
            return f"{cell:,}"
        case Number():
            return str(cell)
        case Share():
            return f"{cell.part:,}/{cell.whole:,}"
        case Strong():
            return for_terminal(in_language(cell.text, lang))
        case Stack():
            return "; ".join(cell.texts)
        case _:
            return for_terminal(in_language(cell, lang))


def cell_markdown(cell: Cell, lang: Language) -> str:
    """Returns a cell as Markdown."""
    match cell:
        case Number():
            value = f"**{cell.value}**" if cell.strong and cell.value else cell.value
            return f"{value} {cell.interval}".rstrip()
        case Share():
            remark = f" ({for_markdown(cell.remark(lang))})" if cell.remark else ""
            return f"{cell.part:,} / {cell.whole:,}{remark}"
        case Strong():
            return f"**{for_markdown(in_language(cell.text, lang))}**"
        case Stack() if cell.strong:
            return "; ".join((f"**{cell.texts[0]}**", *cell.texts[1:]))
        case Text() | str():
            return for_markdown(in_language(cell, lang))
        case _:
            return cell_text(cell, lang)


def markdown_table(table: Table, lang: Language) -> str:
    """Returns a table in GitHub's dialect, without its title."""
    header = [for_markdown(in_language(column.title, lang)) for column in table.columns]
    marks = ["---" if column.text else "---:" for column in table.columns]
    lines = [header, marks]
    for row in table.rows:
        name, *others = (cell_markdown(cell, lang).strip() for cell in row.cells)
        name = f"**{name}**" if row.strong else f"&emsp;{name}" if row.indent else name
        lines.append([name, *others])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _heading(text: Text | str, level: int, lang: Language) -> str:
    return "#" * level + " " + for_markdown(in_language(text, lang))


def markdown_document(document: Document, lang: Language) -> str:
    """Returns Markdown, consecutive lines as a list."""
    blocks: list[str] = []
    level, in_list = 1, False  # the level of the heading above
    for block in document:
        listed = isinstance(block, Line) and block.kind != "paragraph"
        match block:
            case Heading():
                level = block.level
                text = _heading(block.text, level, lang)
            case Table():
                title = [_heading(block.title, level + 1, lang)] if block.title else []
                text = "\n\n".join([*title, markdown_table(block, lang)])
            case Line():
                text = "".join(cell_markdown(cell, lang) for cell in block.cells).strip()
                if block.kind == "note":
                    text = f"**{say('notes')(lang)}**: {text}"
                text = f"- {text}" if listed else text
        if listed and in_list:
            blocks[-1] += "\n" + text
        else:
            blocks.append(text)
        in_list = listed
    return "\n\n".join(blocks) + "\n"
