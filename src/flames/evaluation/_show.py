"""Evaluations on a terminal, as Markdown, and as a page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text as RichText

from flames.evaluation import _tables as tables
from flames.evaluation._result import Evaluation, Figures
from flames.evaluation._tables import Table, said
from flames.report._view import note_text
from flames.report.page import render_page
from flames.taxonomy import Language, Taxonomy
from flames.taxonomy import Text as Words
from flames.text import encodable, for_terminal


def print_summary(evaluations: Sequence[Evaluation], console: Console, lang: Language) -> None:
    """Prints one row a scorer."""
    _print_table(tables.summary(evaluations), console, lang)


def print_evaluations(
    evaluations: Sequence[Evaluation], console: Console, taxonomy: Taxonomy, lang: Language
) -> None:
    """Prints a table over all scorers, then two a scorer."""
    if len(evaluations) > 1:
        print_summary(evaluations, console, lang)
    for each in evaluations:
        console.print(RichText(for_terminal(each.scorer), style="bold"))
        for note in each.notes:
            console.print(RichText(for_terminal(f"! {note}"), style="yellow"))
        _print_table(tables.dimensions(each, taxonomy), console, lang)
        if len(each.models) > 1:
            _print_table(tables.models(each), console, lang)
        if each.rank_agreement is not None:
            tau = f"{tables.words()['tau'](lang)}: {tables.number(each.rank_agreement, 2)}"
            console.print(RichText(tau))
        if each.per_second:
            told = f"{tables.words()['speed'](lang)}: {each.per_second:,.1f}"
            console.print(RichText(told))
        for line in tables.lines(each, taxonomy):
            console.print(RichText(for_terminal(line(lang)), style="dim"))


def _print_table(table: Table, console: Console, lang: Language) -> None:
    """Prints a table in as many parts as the terminal's width needs, none of them squeezed."""
    header = [name(lang) for name in table.header]
    rows = [
        [for_terminal(said(cell, lang)).replace(" [", "\n[") for cell in row] for row in table.rows
    ]
    widths = [
        max(cell_len(line) for text in (header[i], *(row[i] for row in rows))
            for line in (text.split() if text == header[i] else text.split("\n")))
        for i in range(len(header))
    ]  # fmt: skip
    widths[0] = min(widths[0], 24)
    parts: list[list[int]] = [[]]
    for column in range(1, len(header)):
        used = widths[0] + sum(widths[i] + 2 for i in [*parts[-1], column])
        if parts[-1] and used > console.width:
            parts.append([])
        parts[-1].append(column)
    for number, part in enumerate(parts):
        shown = RichTable(
            title=None if number else table.title(lang), title_justify="left",
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for column in (0, *part):
            justify: Any = "right" if column else "left"
            shown.add_column(header[column], justify=justify, width=widths[column], overflow="fold")
        for row in rows:
            shown.add_row(*(RichText(row[column]) for column in (0, *part)))
        console.print(shown)
        console.print()


_FIGURES = re.compile(r"[-+\d.,/\s\[\]×–]*")
_ESCAPED = str.maketrans({char: "\\" + char for char in "\\`*_[]<>#|~$&@"})


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return encodable(for_terminal(text)).translate(_ESCAPED)


def _cell(text: str) -> str:
    return text if _FIGURES.fullmatch(text) else plain(text)


def markdown_table(table: Table, lang: Language) -> str:
    """A table in GitHub's dialect."""
    marks = ["---"] + ["---:"] * (len(table.header) - 1)
    head = [name(lang) for name in table.header]
    rows = [[_cell(said(cell, lang)) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def markdown(evaluations: Sequence[Evaluation], taxonomy: Taxonomy, lang: Language) -> str:
    """Everything as one Markdown document."""
    w = tables.words()
    title = w["title.many" if len(evaluations) > 1 else "title"](lang)
    blocks = [f"# {title}", markdown_table(tables.summary(evaluations), lang)]
    for each in evaluations:
        blocks += [f"## {plain(each.scorer)}", plain(each.title)]
        blocks += [f"> {plain(note)}" for note in each.notes]
        blocks += markdown_body(each, taxonomy, lang)
        blocks.append("\n".join(f"- {plain(line(lang))}" for line in tables.lines(each, taxonomy)))
    return "\n\n".join(blocks) + "\n"


def markdown_body(evaluation: Evaluation, taxonomy: Taxonomy, lang: Language) -> list[str]:
    """An evaluation's tables, each with its heading."""
    w = tables.words()
    blocks = []
    for table in (tables.dimensions(evaluation, taxonomy), tables.models(evaluation)):
        blocks += [f"### {table.title(lang)}", markdown_table(table, lang)]
    confusions = Table(
        w["confusions"],
        (w["dimension"], w["confusion"]),
        tuple(
            (taxonomy.dimension(name).label, tables.confusion(found))
            for name, found in evaluation.dimensions.items()
        ),
    )
    blocks += [f"### {w['confusions'](lang)}", markdown_table(confusions, lang)]
    calibration = evaluation.overall.calibration
    if calibration is not None:
        bins = Table(
            w["calibration"],
            (w["calibration.axis"], w["accuracy"], w["n"]),
            tuple((f"{b.confidence:.0f}", f"{b.accuracy:.0f}", f"{b.n:,}")
                  for b in calibration.bins),
        )  # fmt: skip
        blocks += [f"### {w['calibration'](lang)} (ECE {tables.number(calibration.ece)})",
                   markdown_table(bins, lang)]  # fmt: skip
    return blocks


def page(evaluations: Sequence[Evaluation], taxonomy: Taxonomy, lang: Language) -> str:
    """Everything as one self-contained page with pictures."""
    w = tables.words()
    widest = max(
        (abs(v) for e in evaluations for b in e.bias for v in (b.bias.low, b.bias.high)), default=1
    )
    return render_page(
        "evaluation.html.jinja",
        title=w["title.many" if len(evaluations) > 1 else "title"],
        lang=lang,
        package="flames.evaluation",
        strings=w,
        styles=("charts.css", "report.css", "evaluation.css"),
        note_text=note_text,
        number=tables.number,
        evaluations=evaluations,
        summary=tables.summary(evaluations),
        dimensions_of=lambda each: tables.dimensions(each, taxonomy),
        models_of=tables.models,
        lines_of=lambda each: tables.lines(each, taxonomy),
        groups_of=lambda each: _groups(each, taxonomy, w),
        reliability=reliability,
        signed=lambda found: tables.number(found, sign=True),
        span=5 * math.ceil(max(widest, 1) / 5),
        shade=_shade,
        is_words=lambda cell: isinstance(cell, Words),
    )


def _groups(
    evaluation: Evaluation, taxonomy: Taxonomy, w: Mapping[str, Words]
) -> list[tuple[Words, Figures]]:
    named = [(taxonomy.dimension(n).label, found) for n, found in evaluation.dimensions.items()]
    return [(w["all"], evaluation.overall), *named]


def reliability(found: Figures) -> list[dict[str, Any]]:
    """The points of a reliability picture on a 100 × 100 field, the origin below left."""
    if found.calibration is None:
        return []
    most = max(each.n for each in found.calibration.bins)
    return [
        {
            "x": round(each.confidence, 2),
            "y": round(100 - each.accuracy, 2),
            "r": round(1.4 + 3.2 * math.sqrt(each.n / most), 2),
        }
        for each in found.calibration.bins
    ]


def _shade(row: Sequence[int], n: int) -> int:
    """How dark a cell of a confusion matrix is, from 0 to 9."""
    return round(9 * n / max(sum(row), 1))
