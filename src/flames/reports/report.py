"""The report on results: on a terminal, as Markdown, JSON and CSV, and as files of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flames.analysis.beside import Beside
from flames.metrics.correction import CorrectedGroup, Correction
from flames.metrics.result import ROW_COLUMNS, Estimate, Group, Overall, Result
from flames.metrics.source import Source
from flames.records import dump_json
from flames.reports import view
from flames.reports.beside import NOTHING, agreement_data, beside_blocks, overview
from flames.reports.choices import choice_blocks
from flames.reports.nothing import nothing_of
from flames.reports.printing import print_document
from flames.reports.refusals import refusal_blocks
from flames.reports.robustness import robustness_blocks
from flames.reports.tables import (
    Block,
    Column,
    Heading,
    Number,
    Row,
    Share,
    Strong,
    Table,
    line,
    markdown_document,
)
from flames.reports.words import join, reasons, say
from flames.reports.worst import worst_blocks, worst_lines
from flames.storage.atomic import to_csv, write_atomic
from flames.storage.run_dir import ReportFormat, RunDir
from flames.taxonomy import Language, Taxonomy, Text, default_taxonomy

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 70  # terminal columns that a whole row of values takes, with names folded


def write_reports(
    run: RunDir,
    sources: Sequence[Source],
    results: Sequence[Result],
    lang: Language = "en",
    taxonomy: Taxonomy | None = None,
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
) -> list[Path]:
    """Writes a run's report as HTML, Markdown and JSON, each whole or not at all."""
    from flames.reports.html import html_parts  # templates, charts, published tables

    taxonomy = taxonomy or default_taxonomy()
    texts: dict[ReportFormat, str | Iterator[str]] = {
        "html": html_parts(results, sources, taxonomy, lang, corrections, beside),
        "md": render_markdown(results, taxonomy, lang, corrections, beside),
        "json": render_json(results, corrections, beside),
    }
    return [write_atomic(run.report_path(form), text) for form, text in texts.items()]


def print_summary(
    results: Sequence[Result],
    console: Console,
    lang: Language = "en",
    taxonomy: Taxonomy | None = None,
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
    *,
    told: str = "",
) -> None:
    """Prints a table per result; of several, all of them side by side at the end.

    Where there is nothing to measure, reasons that are `told` elsewhere are left out.
    """
    taxonomy = taxonomy or default_taxonomy()
    for result, correction in zip_longest(results, corrections):
        narrow = console.width < _WIDTH
        print_document(_terminal(result, taxonomy, narrow, told), console, lang, intervals="column")
        if correction is not None:
            console.print()
            blocks = [Heading(say("human")), *human_blocks(correction, taxonomy)]
            print_document(blocks, console, lang, intervals="below")
        console.print()
    if len(results) > 1:
        title = join(say("harmless_rate"), " %, ", say("interval"))
        several = len({result.scorer for result in results}) > 1
        table = overview(results, taxonomy, title, with_scorer=several)
        print_document(table, console, lang, intervals="below")
    print_document(beside_blocks(results, beside, taxonomy), console, lang, intervals="below")


def render_markdown(
    results: Sequence[Result],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
) -> str:
    """Returns the whole report as Markdown, one section per result."""
    return markdown_document(document_of(results, taxonomy, corrections, beside), lang)


def document_of(
    results: Sequence[Result],
    taxonomy: Taxonomy,
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
) -> list[Block]:
    """Describes the whole report, one section per result."""
    blocks: list[Block] = []
    if len(results) > 1:
        caption = line(say("harmless_rate"), " (%), ", say("interval"), kind="paragraph")
        blocks += [Heading(say("title.many", n=len(results))), caption]
        blocks += overview(results, taxonomy, "", with_scorer=True, expected=True)
    for result, correction in zip_longest(results, corrections):
        blocks += _markdown(result, taxonomy)
        if correction is not None:
            blocks.append(Heading(say("human"), 2))
            blocks.append(line(say("human.explain"), kind="paragraph"))
            blocks += human_blocks(correction, taxonomy)
    blocks += beside_blocks(results, beside, taxonomy)
    return blocks


def render_json(
    results: Sequence[Result],
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
) -> str:
    """Returns one object for one result, otherwise `{"schema": 1, "results": […]}`."""
    objects = [result.to_dict() for result in results]
    for data, correction in zip(objects, corrections, strict=False):
        data["human"] = correction.model_dump()
    whole: Any = objects[0] if len(objects) == 1 else {"schema": 1, "results": objects}
    if beside.results:
        whole["beside"] = [other.to_dict() for other in beside.results]
        whole["beside_notes"] = [note.to_dict() for note in beside.notes]
    if beside.scorers:
        whole["scorers"] = [agreement_data(own) for own in beside.scorers]
    return dump_json(whole)


def render_csv(results: Sequence[Result]) -> str:
    """Returns the rows of `Result.rows` as CSV that a spreadsheet takes for no formulas."""
    return to_csv((row for result in results for row in result.rows()), ROW_COLUMNS)


def _terminal(result: Result, taxonomy: Taxonomy, narrow: bool, told: str) -> Iterator[Block]:
    overall = result.overall
    yield Heading(result.shown_name)
    yield line(say("prompt_set"), ": ", view.prompt_set_line(result.prompt_set), kind="soft")
    yield line(say("scorer"), ": ", result.scorer, kind="soft")
    if conditions := view.conditions_line(result):
        yield line(say("conditions"), ": ", conditions, kind="soft")
    if result.choices is not None:
        yield from choice_blocks(result.choices)
    if nothing := nothing_of(result):
        yield from () if result.choices else nothing.blocks(told)
        return
    for note in result.notes:
        yield line(view.note_line(note, taxonomy), kind="note")
    if result.partial:
        yield line(view.partial_line(result, taxonomy), kind="note")
    yield from worst_blocks(result, taxonomy)
    groups, techniques = view.dimension_rows(result, taxonomy), view.technique_rows(result)
    table = _values([*groups, *techniques], taxonomy, "")
    rows = [
        replace(row, ends_section=bool(techniques) and position == len(groups) - 1)
        for position, row in enumerate(table.rows)
    ]
    if overall.harmless_rate is not None:
        rate, score = Number(overall.harmless_rate, 2, 1), Number(overall.harmless_score)
        scored = Share(overall.coverage.scored, overall.coverage.prompts)
        attack = Number(overall.attack_success_rate, 2, 1)
        rows = [
            Row((say("overall.short"), rate, score, "", scored), strong=True),
            Row((say("attack_success_rate"), attack, "", "", ""), ends_section=True),
            *rows,
        ]
    yield replace(table, rows=tuple(rows))
    yield from _expected(result, groups)
    if result.refusals is not None:
        yield from refusal_blocks(result.refusals, taxonomy, parts=False)
    if result.robustness is not None:
        yield from robustness_blocks(result.robustness)
    if narrow:
        yield line(say("narrow", columns=_WIDTH), kind="soft")
    yield from _coverage(overall)
    yield line(say("methods", methods=view.method_line(result)), kind="soft")


def _expected(result: Result, groups: Sequence[view.GroupRow]) -> Iterator[Block]:
    """Yields the rates that the probabilities expect; nothing without any."""
    overall = result.overall
    rows: list[tuple[Text, Group | Overall, int]] = [
        (row.label, row.group, row.group.scored) for row in groups if row.kind == "dimension"
    ]
    if not view.has_expected(group for _, group, _ in rows):
        return
    if overall.harmless_rate is not None:
        rows.insert(0, (say("overall.short"), overall, overall.coverage.scored))
    columns: list[Column[tuple[Text, Group | Overall, int]]] = [
        Column("", lambda row: row[0], text=True),
        Column(say("expected.counted"), lambda row: Number(_value(row[1].harmless_rate), 2)),
        Column(
            say("expected.short"),
            lambda row: Number(row[1].expected_harmless_rate, 2, 1, strong=view.is_apart(row[1])),
        ),
    ]
    if any(group.with_probabilities < scored for _, group, scored in rows):
        known = say("expected.of")
        columns.append(Column(known, lambda row: Share(row[1].with_probabilities, row[2])))
    yield Table.of(say("expected.caption"), columns, rows)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _markdown(result: Result, taxonomy: Taxonomy) -> Iterator[Block]:
    overall, nothing = result.overall, nothing_of(result)
    yield Heading(say("title", model=result.shown_name))
    if result.choices is not None:
        yield from choice_blocks(result.choices)
    elif nothing:
        yield from nothing.blocks()
    if overall.harmless_rate is not None:
        for key, digits, unit in (
            ("harmless_rate", 2, " %"),
            ("expected_harmless_rate", 2, " %"),
            ("harmless_score", 1, ""),
            ("attack_success_rate", 2, " %"),
        ):
            expected = key == "expected_harmless_rate"
            if expected and overall.expected_harmless_rate is None:
                continue
            number = Number(getattr(overall, key), digits, 1, unit=unit)
            name = Strong(join(say(key), ": ", number.value))
            on = view.expected_on(overall, overall.coverage.scored) if expected else ""
            yield line(name, replace(number, shown="interval"), on)
    if result.partial and not nothing:
        yield line(Strong(view.partial_line(result, taxonomy)))
    if not nothing:
        yield from _coverage(overall)
    yield line(say("prompt_set"), ": ", view.prompt_set_line(result.prompt_set, digits=None))
    yield line(say("scorer"), ": ", result.scorer)
    if conditions := view.conditions_line(result):
        yield line(say("conditions"), ": ", conditions)
    if result.samples > 1:
        yield line(say("samples", n=result.samples))
    for note in () if nothing else result.notes:
        yield line(view.note_line(note, taxonomy), kind="note")
    rows = [] if nothing else view.dimension_rows(result, taxonomy)
    yield from () if nothing else worst_lines(result, taxonomy)
    if rows:
        yield _values(rows, taxonomy, say("dimensions"), expected=True)
    if rows and result.techniques:
        yield _values(view.technique_rows(result), taxonomy, say("techniques"), expected=True)
    if result.refusals is not None:
        yield Heading(say("refusals"), 2)
        yield from refusal_blocks(result.refusals, taxonomy)
    if result.robustness is not None:
        yield Heading(say("robustness"), 2)
        yield from robustness_blocks(result.robustness)
    yield Heading(say("method"), 2)
    if not nothing:
        yield line(say("methods", methods=view.method_line(result)))
    yield line(view.code_line(result))


def _coverage(overall: Overall) -> Iterator[Block]:
    yield line(view.coverage_line(overall.coverage))
    if overall.coverage.unscored:
        yield line(say("unscored.reasons", reasons=reasons(overall.coverage.unscored)))
    if extremes := view.bounds(overall.harmless_rate_bounds):
        yield line(say("bounds"), f": {extremes} %")


def _values(
    rows: Sequence[view.GroupRow],
    taxonomy: Taxonomy,
    title: Text | str,
    *,
    expected: bool = False,
) -> Table:
    def scored(row: view.GroupRow) -> Share:
        unscored = row.group.unscored
        return Share(row.group.scored, row.group.n, reasons(unscored) if unscored else None)

    levels = "/".join(value for value, _ in view.levels_of(rows, taxonomy))
    columns: list[Column[view.GroupRow]] = [
        Column("", lambda row: row.label, text=True),
        Column(
            join(say("harmless_rate"), " (%)"),
            lambda row: Number(row.group.harmless_rate, 2, 1),
            short=say("short.rate"),
        ),
        Column(
            say("harmless_score"),
            lambda row: Number(row.group.harmless_score),
            short=say("short.score"),
            wide=True,
        ),
        Column(
            say("scores"), lambda row: view.counts(row.group, row.scale), short=levels, wide=True
        ),
        Column(say("scored"), scored),
    ]
    groups = [row.group for row in rows]
    if expected and view.has_expected(groups):
        columns.insert(
            2,
            Column(
                join(say("expected_harmless_rate"), " (%)"),
                lambda row: Number(row.group.expected_harmless_rate, 2, 1),
            ),
        )
        if any(group.with_probabilities < group.scored for group in groups):
            known = say("expected.of")
            columns.append(
                Column(known, lambda row: Share(row.group.with_probabilities, row.group.scored))
            )
    return Table.of(
        title,
        columns,
        rows,
        style=lambda row: {"strong": row.kind == "dimension", "indent": row.kind == "subcomponent"},
        full_width=_WIDTH,
    )


def human_blocks(
    correction: Correction, taxonomy: Taxonomy, *, people: bool = True
) -> Iterator[Block]:
    """Yields which labels were used, and the values of scorer, people and both, in two tables.

    Labels that are not by people are not called so.
    """
    yield from map(line, view.label_lines(correction, taxonomy))
    rows = view.human_rows(correction, taxonomy)
    for key, digits in (("rate", 2), ("score", 1)):

        def estimate(name: str, key: str = f"harmless_{key}", digits: int = digits) -> Any:
            return lambda row: Number(getattr(getattr(row[1], key), name), digits, 1)

        columns: list[Column[tuple[Text, CorrectedGroup]]] = [
            Column("", lambda row: row[0], text=True),
            Column(say("human.scorer"), estimate("scorer")),
            Column(say("human.people" if people else "human.labels"), estimate("human")),
            Column(say("human.corrected"), estimate("corrected")),
            Column(say("human.labelled"), lambda row: Share(row[1].labelled, row[1].scored)),
            Column(say("human.agreement"), lambda row: Number(row[1].agreement)),
        ]
        yield Table.of(say(f"human.caption.{key}"), columns, rows)
