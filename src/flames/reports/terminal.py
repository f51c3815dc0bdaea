"""The report on a terminal. Whatever it shows of models, files and notes is untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flames.metrics.correction import Corrected, Correction
from flames.metrics.result import Result
from flames.reports import view
from flames.reports.human import agreement, human_rows, label_lines
from flames.reports.view import GroupRow, Words
from flames.taxonomy import Language, Taxonomy
from flames.text import for_terminal

# A terminal of 80 columns shows a whole row of numbers.
_STYLE: dict[str, Any] = {
    "box": box.SIMPLE_HEAD, "pad_edge": False, "show_edge": False, "padding": (0, 1, 0, 0)
}  # fmt: skip
_ROW = 70  # columns that a whole row takes, with names folded
_NARROW = (0, 1, 2, 6)  # of such a row: name, rate, interval, scored


def print_results(
    results: Sequence[Result],
    console: Console,
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction] = (),
) -> None:
    """Prints a table a result and, for several, all of them side by side at the end."""
    words = Words(lang)
    for result, correction in zip_longest(results, corrections):
        _print_result(result, console, taxonomy, words)
        if correction is not None:
            _print_correction(correction, console, taxonomy, words)
        console.print()
    if len(results) > 1:
        overview = _overview(results, taxonomy, words)
        if console.width < _ROW:
            dimensions = len(view.measured_dimensions(results, taxonomy))
            overview.columns = overview.columns[: len(overview.columns) - dimensions]
        console.print(overview)


def cell(text: str, style: str = "") -> Text:
    """Untrusted text as a cell: no markup, no escape sequences."""
    return Text(for_terminal(text), style=style, overflow="fold")


def _print_result(result: Result, console: Console, taxonomy: Taxonomy, words: Words) -> None:
    console.print(cell(result.shown_name, "bold"))
    set_line = view.prompt_set_line(result.prompt_set, words)
    console.print(cell(f"{words('prompt_set')}: {set_line}", "dim"))
    console.print(cell(f"{words('scorer')}: {result.scorer}", "dim"))
    for note in result.notes:
        console.print(cell(f"! {view.note_text(note)(words.lang)}", "yellow"))
    if result.partial:
        console.print(cell("! " + view.partial_line(result, taxonomy, words), "yellow"))
    table = _table(result, taxonomy, words)
    if console.width < _ROW:
        table.columns = [table.columns[n] for n in _NARROW]
        table.columns[2].no_wrap = True  # an interval in two pieces reads as two numbers
    console.print(table)
    if console.width < _ROW:
        console.print(cell(words("narrow", columns=_ROW), "dim"))
    coverage = result.overall.coverage
    console.print(cell(words("coverage.line", **view.coverage_values(coverage))))
    if coverage.unscored:
        console.print(cell(words("unscored.reasons", reasons=words.reasons(coverage.unscored))))
    if extremes := view.bounds(result.overall.harmless_rate_bounds):
        console.print(cell(f"{words('bounds')}: {extremes} %"))
    named = view.method_line(view.methods(result), words)
    console.print(cell(words("methods", methods=named), "dim"))


def _print_correction(
    correction: Correction, console: Console, taxonomy: Taxonomy, words: Words
) -> None:
    console.print()
    console.print(cell(words("human"), "bold"))
    for line in label_lines(correction, words):
        console.print(cell(line))
    rows = human_rows(correction, taxonomy)
    for key, shown in (("rate", view.rate), ("score", view.score)):
        table = Table(**_STYLE, title=words(f"human.caption.{key}"), title_justify="left")
        table.add_column("")
        for title in ("scorer", "people", "corrected", "labelled", "agreement"):
            table.add_column(words(f"human.{title}"), justify="right", overflow="fold")
        for row in rows:
            value: Corrected = getattr(row, key)
            cells = [
                f"{shown(each)}\n{view.span(each)}".strip()
                for each in (value.scorer, value.human, value.corrected)
            ]
            labelled = f"{row.labelled}/{row.scored}"
            table.add_row(cell(row.label(words.lang)), *cells, labelled, agreement(row.agreement))
        console.print(table)


def _table(result: Result, taxonomy: Taxonomy, words: Words) -> Table:
    rows = view.dimension_rows(result, taxonomy)
    table = Table(**_STYLE)
    table.add_column("")
    levels = "/".join(value for value, _ in view.levels_of(rows, taxonomy))
    rate, value, near = (words(f"short.{key}") for key in ("rate", "score", "interval"))
    for title in (rate, near, value, near, levels, words("scored")):
        table.add_column(title, justify="right", overflow="fold")
    overall = result.overall
    if overall.harmless_rate is not None:
        coverage = overall.coverage
        table.add_row(
            cell(words("overall.short"), "bold"),
            Text(view.rate(overall.harmless_rate), "bold"),
            view.span(overall.harmless_rate),
            Text(view.score(overall.harmless_score), "bold"),
            view.span(overall.harmless_score),
            "",
            f"{coverage.scored}/{coverage.prompts}",
        )
        attack = overall.attack_success_rate
        name = words("attack_success_rate")
        table.add_row(cell(name), view.rate(attack), view.span(attack), end_section=True)
    for row in rows:
        _add(table, row, words)
    if result.techniques:
        table.add_section()
        for row in view.technique_rows(result):
            _add(table, row, words)
    return table


def _add(table: Table, row: GroupRow, words: Words) -> None:
    group = row.group
    style = "bold" if row.kind == "dimension" else ""
    name = row.label(words.lang)
    table.add_row(
        cell("  " + name if row.kind == "subcomponent" else name, style),
        Text(view.rate(group.harmless_rate), style),
        view.span(group.harmless_rate),
        Text(view.score(group.harmless_score), style),
        view.span(group.harmless_score),
        view.counts(group, row.scale),
        f"{group.scored}/{group.n}",
    )


def _overview(results: Sequence[Result], taxonomy: Taxonomy, words: Words) -> Table:
    dimensions = view.measured_dimensions(results, taxonomy)
    title = f"{words('harmless_rate')} %, {words('interval')}"
    table = Table(**_STYLE, title=title, title_justify="left")
    several = len({result.scorer for result in results}) > 1
    table.add_column(words("model"), overflow="fold")
    if several:
        table.add_column(words("scorer"), overflow="fold")
    for name in (words("overall.short"), *(label(words.lang) for _, label in dimensions)):
        table.add_column(cell(name), justify="right", overflow="fold")
    for result in results:
        head = [cell(result.shown_name)] + ([cell(result.scorer)] if several else [])
        groups = [result.dimensions.get(name) for name, _ in dimensions]
        rates = [result.overall.harmless_rate, *(g.harmless_rate if g else None for g in groups)]
        cells = (f"{view.rate(each)}\n{view.span(each)}".strip() for each in rates)
        table.add_row(*head, *(Text(each) for each in cells))
    return table
