"""One model of tables and documents, and its renderers for terminal, Markdown and HTML.

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
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from flames.metrics.result import Estimate, format_interval, format_number
from flames.reports.words import DASH, say
from flames.taxonomy import Language, Text
from flames.text import for_markdown, for_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as RichText

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
    shown: list[tuple[str, bool, list[RichText]]] = []
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
    for number, part in enumerate(_parts(widths, console.width)):
        rich = RichTable(
            title=RichText(caption) if caption and not number else None, title_justify="left",
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0),
            show_header=any(title for title, _, _ in shown),
        )  # fmt: skip
        for i in part:
            title, numeric, _ = shown[i]
            least = widths[i] if numeric else None
            rich.add_column(
                title, justify="right" if numeric else "left", overflow="fold", min_width=least
            )
        for position, row in enumerate(table.rows):
            cells_of_row = (shown[i][2][position] for i in part)
            rich.add_row(*cells_of_row, end_section=row.ends_section)
        console.print(rich)


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
    return width if numeric else min(width, 12)


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns that fit beside each other, each part beginning with the first column."""
    parts: list[list[int]] = [[0]]
    for i in range(1, len(widths)):
        used = sum(widths[j] + 1 for j in [*parts[-1], i]) - 1
        if len(parts[-1]) > 1 and used > room:
            parts.append([0])
        parts[-1].append(i)
    return parts


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
