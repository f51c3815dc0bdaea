"""Comparisons: on a terminal, as Markdown, and as a page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flames.analysis.comparison import SHOWN, Comparison, Difference, PairComparison
from flames.metrics.result import Note
from flames.reports.page import render_page
from flames.reports.tables import (
    Block,
    Cell,
    Column,
    Heading,
    Number,
    Stack,
    Strong,
    Table,
    line,
    markdown_document,
    print_document,
)
from flames.reports.view import part_label, score_tone
from flames.reports.words import join, listed, name_of, same, say
from flames.taxonomy import Language, Taxonomy, Text, default_taxonomy
from flames.text import shorten

if TYPE_CHECKING:
    from rich.console import Console


def render_html(
    comparison: Comparison,
    lang: Language = "zh",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = SHOWN,
) -> str:
    """Returns the page; `changes` is the total of changed prompts, at least 10 per pair."""
    taxonomy = taxonomy or default_taxonomy()
    return render_page(
        "compare.html.jinja",
        title=_title(comparison),
        lang=lang,
        styles=("charts.css", "report.css", "compare.css"),
        comparison=comparison,
        notes=_notes(comparison),
        taxonomy=taxonomy,
        matrix={(p.first, p.second): (i, p) for i, p in enumerate(comparison.pairs, 1)},
        tone=lambda change, value: score_tone(value, taxonomy.dimension(change.dimension).scale),
        part_label=lambda change: part_label(taxonomy, change.dimension, change.subcomponent or ""),
        number=Number,
        p_value=p_value,
        left_out=left_out,
        tests_of=tests_of,
        most=comparison.room(changes),
    )


def render_markdown(
    comparison: Comparison,
    lang: Language = "zh",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = 10,
) -> str:
    """Returns the comparison as Markdown; `changes` counts the changed prompts."""
    document = _document(comparison, taxonomy or default_taxonomy(), changes, room=200)
    return markdown_document(document, lang)


def print_comparison(
    comparison: Comparison,
    console: Console,
    lang: Language = "en",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = 10,
) -> None:
    """Prints tables of two and the prompts that changed, or a matrix of three and more."""
    room = max(console.width - 26, 20)  # each text on one line
    document = _document(comparison, taxonomy or default_taxonomy(), changes, room)
    print_document(document, console, lang)


def _title(comparison: Comparison) -> Text:
    sides = comparison.sides
    if len(sides) > 2:
        return say("compare.title_many", n=len(sides))
    return say("compare.title", first=sides[0].name, second=sides[1].name)


def _notes(comparison: Comparison) -> list[Note]:
    return list(dict.fromkeys(note for side in comparison.sides for note in side.notes))


def _document(
    comparison: Comparison, taxonomy: Taxonomy, changes: int, room: int
) -> Iterable[Block]:
    yield Heading(_title(comparison))
    sides = comparison.sides
    sets = dict.fromkeys(f"{side.prompt_set.name} ({side.prompt_set.n:,})" for side in sides)
    scorers = dict.fromkeys(side.scorer for side in sides)
    yield line(say("compare.set"), ": ", ", ".join(sets), kind="soft")
    yield line(say("compare.scorer"), ": ", ", ".join(scorers), kind="soft")
    for note in _notes(comparison):
        yield line(note.words, kind="note")
    if len(sides) == 2:
        yield from _pair(comparison.pairs[0], taxonomy, changes, room)
        return
    if narrowed := [pair for pair in comparison.pairs if pair.remarks]:
        one, n = narrowed[0], len(narrowed)
        values = {"first": one.first, "second": one.second, "remark": one.remarks[-1].words}
        yield line(say("compare.narrowed", n=n, **values), kind="note")
    yield _matrix(comparison)
    yield line(say("compare.matrix_hint"), kind="soft")


def p_value(p: float | None) -> str:
    """Returns a p value as papers print it; nothing for None."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _matrix(comparison: Comparison) -> Table:
    names = [side.name for side in comparison.sides]
    found = {(pair.first, pair.second): pair for pair in comparison.pairs}

    def cell(row: str, column: str) -> Cell:
        pair = found.get((row, column))
        difference = pair.harmless_rate if pair else None
        if pair is None or difference is None:
            return "" if pair is None else None
        value = Number(difference.difference.value, 2, sign=True)
        texts = (str(value), f"p {p_value(difference.p)}", f"n {pair.n}")
        return Stack(texts, strong=difference.significant)

    rows = [[name, *(cell(name, column) for column in names[1:])] for name in names[:-1]]
    return Table.of_cells(say("compare.matrix"), ("", *names[1:]), rows)


def _pair(pair: PairComparison, taxonomy: Taxonomy, changes: int, room: int) -> Iterable[Block]:
    for remark in pair.remarks:
        yield line(remark.words, kind="note")
    yield line(say("compare.paired", n=f"{pair.n:,}"))
    if pair.left_out:
        yield line(say("compare.left_out", list=left_out(pair)))
    if pair.partial:
        yield line(say("compare.partial"), kind="note")
    for key, name in (("rate", "harmless_rate"), ("score", "harmless_score")):
        yield _differences(pair, taxonomy, name, say(f"compare.{key}"))
    names = {"first": pair.first, "second": pair.second}
    yield line(say("compare.methods", **names, tests=tests_of(pair)), kind="soft")
    if changes and pair.changes:
        yield from _changes(pair, changes, room)


_Compared = tuple[Cell, Difference, str]


def _differences(pair: PairComparison, taxonomy: Taxonomy, name: str, title: Text) -> Table:
    rows: list[_Compared] = [
        (taxonomy.dimension(dimension).label, getattr(group, name),
         f"{group.better}/{group.worse} : {group.n}")
        for dimension, group in pair.dimensions.items()
    ]  # fmt: skip
    overall: Difference | None = getattr(pair, name)
    if overall is not None:
        rows.insert(0, (Strong(say("compare.overall")), overall, ""))
    columns: list[Column[_Compared]] = [
        Column("", lambda row: row[0], text=True),
        Column(shorten(pair.first, 14), lambda row: Number(row[1].first, 2)),
        Column(shorten(pair.second, 14), lambda row: Number(row[1].second, 2)),
        Column(
            say("compare.difference"),
            lambda row: Number(row[1].difference, 2, sign=True, strong=row[1].significant),
        ),
        Column(say("compare.p"), lambda row: p_value(row[1].p)),
        Column(say("compare.p_holm"), lambda row: p_value(row[1].p_holm)),
        Column(say("compare.detectable"), lambda row: Number(row[1].detectable)),
    ]
    if name == "harmless_rate":
        columns.append(Column(say("compare.changed"), lambda row: row[2]))
    return Table.of(
        title, columns, rows, style=lambda row: {"ends_section": isinstance(row[0], Strong)}
    )


def left_out(pair: PairComparison) -> Text:
    """Returns how many prompts are in no pair, by reason."""
    found = []
    for reason, n in pair.left_out.items():
        kind, unscored, who = reason.partition("unscored: ")
        if unscored and not kind:
            name = say("compare.both") if who == "both" else same(who)
            found.append(join(say("coverage.unscored", reason=name), f" {n}"))
        else:
            found.append(join(name_of("reason", reason), f" {n}"))
    return listed(found)


def tests_of(pair: PairComparison) -> Text:
    """Returns the names of the tests that were used."""
    used = [pair.harmless_rate, pair.harmless_score]
    for group in pair.dimensions.values():
        used += [group.harmless_rate, group.harmless_score]
    names = dict.fromkeys(each.test for each in used if each is not None)
    return listed((name_of("test", name) for name in names), "semicolon")


def _changes(pair: PairComparison, most: int, room: int) -> Iterable[Block]:
    yield Heading(say("compare.changes", n=len(pair.changes)), 2)
    for change in pair.changes[:most]:
        name = " · ".join(filter(None, (change.dimension, change.subcomponent)))
        scores = "→".join(",".join(map(str, side)) for side in change.scores)
        yield line(Strong(f"{scores}  {name}"))
        prompt = change.prompt or say("compare.no_prompt", id=change.prompt_id)
        yield line("  ? ", shorten(prompt, room) if isinstance(prompt, str) else prompt)
        for who, texts in zip((pair.first, pair.second), change.responses, strict=True):
            for text in texts:
                said = shorten(text, room) if text else say("compare.no_response")
                yield line(f"  {shorten(who, 20)}: ", said, kind="soft")
    if len(pair.changes) > most:
        yield line(say("compare.more", n=len(pair.changes) - most), kind="soft")
