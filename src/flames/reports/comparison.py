"""Comparisons on a terminal and as Markdown, and the sentences of any form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flames.analysis.comparison import (
    Comparison,
    Difference,
    PairComparison,
    PartComparison,
    Side,
)
from flames.metrics.grouping import subcomponent_names
from flames.metrics.result import Note
from flames.reports.printing import print_document
from flames.reports.robustness import change_table
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
)
from flames.reports.view import dimension_label, part_label
from flames.reports.words import DASH, join, listed, name_of, p_text, same, say
from flames.taxonomy import Language, Taxonomy, Text, default_taxonomy
from flames.text import shorten

if TYPE_CHECKING:
    from rich.console import Console


def render_markdown(
    comparison: Comparison,
    lang: Language = "zh",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = 10,
) -> str:
    """Returns the comparison as Markdown; `changes` counts the changed prompts."""
    document = document_of(comparison, taxonomy or default_taxonomy(), changes, room=200)
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
    document = document_of(comparison, taxonomy or default_taxonomy(), changes, room)
    print_document(document, console, lang)


def title_of(comparison: Comparison) -> Text:
    """Returns the heading: the models of a pair, or how many there are."""
    [(sides, _), *others] = comparison.groups
    if others:
        names = list(dict.fromkeys(who(comparison, side) for side in comparison.sides))
        n = len(others) + 1
        if len(names) == 2:
            return say("compare.title_scorers", first=names[0], second=names[1], n=n)
        return say("compare.title_many", n=len(names))
    if len(sides) > 2:
        return say("compare.title_many", n=len(sides))
    return say("compare.title", first=sides[0].name, second=sides[1].name)


def who(comparison: Comparison, side: Side) -> str:
    """Returns what a side is called beside its scorer: the model, or the file of a namesake."""
    places = {each.origin for each in comparison.sides if each.model == side.model}
    return side.model if len(places) == 1 else Path(side.origin).name


def notes_of(comparison: Comparison) -> list[Note]:
    """Returns what is to be known about the sides, each once."""
    of_sides = (note for side in comparison.sides for note in side.notes)
    return list(dict.fromkeys((*comparison.notes, *of_sides)))


def verdict_of(pair: PairComparison, taxonomy: Taxonomy) -> Text:
    """Returns in a sentence where the second model is better, and where worse."""
    tested: list[tuple[Text, Difference]] = []
    if pair.harmless_rate is not None:
        tested.append((say("compare.verdict.overall"), pair.harmless_rate))
    tested += [
        (taxonomy.dimension(name).label, own.harmless_rate) for name, own in pair.dimensions.items()
    ]
    if not tested:
        return say("compare.verdict.nothing")
    shown = [(name, each) for name, each in tested if each.significant]
    better, worse = (
        listed(_told(name, each) for name, each in shown if (each.difference.value > 0) is up)
        for up in (True, False)
    )
    if not shown:
        overall = (
            ""
            if pair.harmless_rate is None
            else join(say("compare.verdict.open"), _told(*tested[0]), say("compare.verdict.close"))
        )
        names = {"first": shorten(pair.first, 40), "second": shorten(pair.second, 40)}
        return say("compare.verdict.none", overall=overall, **names)
    kind = (
        "both" if DASH not in (better.en, worse.en) else "worse" if better.en == DASH else "better"
    )
    name = shorten(pair.second, 40)
    found = say(f"compare.verdict.{kind}", name=name, better=better, worse=worse)
    end = "full" if len(shown) == len(tested) else "elsewhere"
    return join(found, say(f"compare.verdict.{end}"))


def parts_of(pair: PairComparison, taxonomy: Taxonomy) -> Text | None:
    """Returns in which subcomponents and techniques they differ; None if in none."""
    named = [(_part(name, taxonomy), own) for name, own in pair.subcomponents.items()]
    named += [(name_of("technique", name), own) for name, own in pair.techniques.items()]
    told = [_told(n, own.harmless_rate) for n, own in named if own.harmless_rate.significant]
    return say("compare.verdict.parts", list=listed(told)) if told else None


def _told(name: Text, found: Difference) -> Text:
    p = found.p if found.p_holm is None else found.p_holm
    by = Number(found.difference.value, 1, sign=True).value
    return say("compare.verdict.item", what=name, by=by, p=p_text(p))


def _part(name: str, taxonomy: Taxonomy) -> Text:
    """Returns what a subcomponent is called, under the name that results give it."""
    for (dimension, part), known in subcomponent_names(taxonomy).items():
        if known == name:
            label = part_label(taxonomy, dimension, part)
            return (
                label if name == part else join(dimension_label(taxonomy, dimension), " · ", label)
            )
    return same(name)


def document_of(
    comparison: Comparison, taxonomy: Taxonomy, changes: int, room: int
) -> Iterable[Block]:
    """Describes a comparison in headings, lines and tables; texts have `room` columns."""
    yield Heading(title_of(comparison))
    groups = comparison.groups
    if len(groups) == 1 and len(comparison.pairs) == 1:
        yield from _verdict(comparison.pairs[0], taxonomy)
    sets = dict.fromkeys(f"{s.prompt_set.full_name} ({s.prompt_set.n:,})" for s in comparison.sides)
    scorers = dict.fromkeys(side.scorer for side in comparison.sides)
    yield line(say("compare.set"), ": ", ", ".join(sets), kind="soft")
    yield line(say("compare.scorer"), ": ", ", ".join(scorers), kind="soft")
    for note in notes_of(comparison):
        yield line(note.words, kind="note")
    if len(groups) > 1:
        yield by_scorer(comparison, taxonomy)
    for sides, pairs in groups:
        if len(groups) > 1:
            yield Heading(say("compare.by_scorer", scorer=sides[0].scorer), 2)
        if len(sides) == 2:
            if len(groups) > 1:
                yield from _verdict(pairs[0], taxonomy)
            yield from _pair(pairs[0], taxonomy, changes, room)
        else:
            yield from _many(sides, pairs)


def _verdict(pair: PairComparison, taxonomy: Taxonomy) -> Iterable[Block]:
    yield line(Strong(verdict_of(pair, taxonomy)))
    if parts := parts_of(pair, taxonomy):
        yield line(parts)


def by_scorer(comparison: Comparison, taxonomy: Taxonomy) -> Table:
    """Builds a table of scorers × dimensions: the difference that each of them finds."""
    scorer = {side.name: side.scorer for side in comparison.sides}
    models = {side.name: who(comparison, side) for side in comparison.sides}
    names = [d.name for d in taxonomy.dimensions
             if any(d.name in pair.dimensions for pair in comparison.pairs)]  # fmt: skip

    def cell(found: Difference | None) -> Cell:
        if found is None:
            return None
        return Number(found.difference, 2, 1, sign=True, strong=found.significant)

    rows: list[list[Cell]] = [
        [
            scorer[pair.first],
            f"{models[pair.first]} → {models[pair.second]}",
            cell(pair.harmless_rate),
            *(cell(own.harmless_rate if own else None)
              for own in (pair.dimensions.get(name) for name in names)),
        ]
        for pair in comparison.pairs
    ]  # fmt: skip
    labels = [taxonomy.dimension(name).label for name in names]
    header = [say("compare.scorer"), say("compare.model"), say("compare.overall"), *labels]
    return Table.of_cells(say("compare.scorers"), header, rows, text=2)


def _many(sides: Sequence[Side], pairs: Sequence[PairComparison]) -> Iterable[Block]:
    if narrowed := [pair for pair in pairs if pair.remarks]:
        one, n = narrowed[0], len(narrowed)
        values = {"first": one.first, "second": one.second, "remark": one.remarks[-1].words}
        yield line(say("compare.narrowed", n=n, **values), kind="note")
    yield _matrix(sides, pairs)
    yield line(say("compare.matrix_hint"), kind="soft")


def p_value(p: float | None) -> str:
    """Returns a p value as papers print it; nothing for None."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _matrix(sides: Sequence[Side], pairs: Sequence[PairComparison]) -> Table:
    names = [side.name for side in sides]
    found = {(pair.first, pair.second): pair for pair in pairs}

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
    if not pair.n:  # tables would hold nothing
        return
    if pair.partial:
        yield line(say("compare.partial"), kind="note")
    for key, name in (("rate", "harmless_rate"), ("score", "harmless_score")):
        yield _differences(pair, taxonomy, name, say(f"compare.{key}"))
    for key in ("subcomponents", "techniques"):
        if rows := part_rows(pair, taxonomy, key):
            yield part_table(rows, key)
    if pair.robustness:
        yield change_table(pair.robustness, pair.first, pair.second)
    names = {"first": pair.first, "second": pair.second}
    yield line(say("compare.methods", **names, tests=tests_of(pair)), kind="soft")
    if changes and pair.changes:
        yield from _changes(pair, taxonomy, changes, room)


class PartRow(NamedTuple):
    """A subcomponent or technique, and the filters that find its changed prompts."""

    label: Text
    own: PartComparison
    find: Mapping[str, str]


def part_rows(pair: PairComparison, taxonomy: Taxonomy, key: str) -> list[PartRow]:
    """Returns the subcomponents or techniques of a pair, the largest falls first."""
    if key == "techniques":
        rows = [
            PartRow(name_of("technique", name), own, {"technique": name})
            for name, own in pair.techniques.items()
        ]
    else:
        places = {known: place for place, known in subcomponent_names(taxonomy).items()}
        rows = [
            PartRow(
                _part(name, taxonomy),
                own,
                dict(zip(("dimension", "part"), places[name], strict=True))
                if name in places
                else {"part": name},
            )
            for name, own in pair.subcomponents.items()
        ]
    return sorted(rows, key=lambda row: row.own.harmless_rate.difference.value)


def part_table(rows: Sequence[PartRow], key: str) -> Table:
    """Builds the table of subcomponents or techniques."""
    columns: list[Column[PartRow]] = [
        Column("", lambda row: row.label, text=True),
        Column(
            say("compare.difference"),
            lambda row: Number(row.own.harmless_rate.difference, 2, sign=True,
                               strong=row.own.harmless_rate.significant),
        ),
        Column(say("compare.p"), lambda row: p_value(row.own.harmless_rate.p)),
        Column(say("compare.p_holm"), lambda row: p_value(row.own.harmless_rate.p_holm)),
        Column(
            say("compare.changed"),
            lambda row: f"{row.own.better}/{row.own.worse} : {row.own.n}",
        ),
    ]  # fmt: skip
    return Table.of(say(f"compare.{key}", n=len(rows)), columns, rows)


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


def _changes(pair: PairComparison, taxonomy: Taxonomy, most: int, room: int) -> Iterable[Block]:
    yield Heading(say("compare.changes", n=len(pair.changes)), 2)
    for change in pair.changes[:most]:
        dimension, part = change.dimension, change.subcomponent
        names = [dimension_label(taxonomy, dimension)]
        names += [part_label(taxonomy, dimension, part)] if part else []
        scores = "→".join(",".join(map(str, side)) for side in change.scores)
        yield line(Strong(join(f"{scores}  ", listed(names, "dot"))))
        for role, text in change.before:
            yield line("  ", say(f"js.role.{role}"), ": ", shorten(text, room), kind="soft")
        prompt = change.prompt or say("compare.no_prompt", id=change.prompt_id)
        yield line("  ? ", shorten(prompt, room) if isinstance(prompt, str) else prompt)
        sides = zip((pair.first, pair.second), change.responses, change.rationales, strict=True)
        for who, texts, reasons in sides:
            for text, reason in zip_longest(texts, reasons[: len(texts)]):
                said = shorten(text, room) if text else say("compare.no_response")
                yield line(f"  {shorten(who, 20)}: ", said, kind="soft")
                if reason:
                    yield line("    ", say("compare.reason"), shorten(reason, room), kind="soft")
    if len(pair.changes) > most:
        yield line(say("compare.more", n=len(pair.changes) - most), kind="soft")
