"""Results side by side: an overview, another run beside a report, and its scorers' agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flames.analysis.beside import Beside, ScorersBeside
from flames.metrics.agreement import GroupAgreement
from flames.metrics.result import Result
from flames.reports import view
from flames.reports.nothing import measured
from flames.reports.tables import Block, Cell, Column, Heading, Number, Table, line
from flames.reports.words import DASH, say
from flames.taxonomy import Taxonomy, Text
from flames.text import shorten

NOTHING = Beside()
_LISTED = 10
"""How many disagreements a report shows; `--disagreements FILE` writes all."""
_WIDTH = 70


def overview(
    results: Sequence[Result],
    taxonomy: Taxonomy,
    title: Text | str,
    *,
    with_scorer: bool,
    expected: bool = False,
) -> Iterator[Block]:
    """Yields a table with a row per result, and which results have nothing to show."""
    found, others = measured(results)

    def rate(name: str) -> Any:
        return lambda r: Number(getattr(r.dimensions.get(name), "harmless_rate", None), 2, 1)

    columns: list[Column[Result]] = [Column(say("model"), lambda r: r.shown_name, text=True)]
    if with_scorer:
        columns.append(Column(say("scorer"), lambda r: r.scorer, text=True))
    columns.append(Column(say("overall.short"), lambda r: Number(r.overall.harmless_rate, 2, 1)))
    if expected and view.has_expected(result.overall for result in results):
        columns.append(
            Column(say("expected.short"), lambda r: Number(r.overall.expected_harmless_rate, 2, 1))
        )
    columns += [
        Column(label, rate(name), wide=True)
        for name, label in view.measured_dimensions(found, taxonomy)
    ]
    if found:
        yield Table.of(title, columns, found, full_width=_WIDTH)
    yield from (line(text, kind="note") for text in others)


def beside_blocks(results: Sequence[Result], beside: Beside, taxonomy: Taxonomy) -> Iterator[Block]:
    """Yields the results with those beside them in one table, and the agreement of scorers."""
    if beside.results:
        every = [*results, *beside.results]
        yield Heading(say("beside"), 2)
        for note in beside.notes:
            yield line(note.words, kind="note")
        several = len({result.scorer for result in every}) > 1
        yield from overview(every, taxonomy, say("beside.caption"), with_scorer=several)
        yield line(say("beside.hint"), kind="soft")
    for own in beside.scorers:
        yield from scorer_blocks(own, taxonomy)


def scorer_blocks(own: ScorersBeside, taxonomy: Taxonomy) -> Iterator[Block]:
    """Yields how the scorers of a model's responses agree, and where they disagree most."""
    yield Heading(say("scorers.title", model=own.model), 2)
    agreement = own.agreement
    groups = [(say("overall.short"), agreement.overall)]
    groups += [
        (view.dimension_label(taxonomy, name), group)
        for name, group in agreement.dimensions.items()
    ]
    yield _pairs(agreement.overall)
    yield _by_dimension(groups, [(pair.first, pair.second) for pair in agreement.overall.pairs])
    yield line(say("scorers.methods"), kind="soft")
    n, shared = len(own.disagreements), agreement.overall.pairable
    yield line(say("scorers.disagree", n=f"{n:,}", total=f"{shared:,}"))
    if n:
        yield _disagreements(own, taxonomy)
        yield line(say("scorers.list"), kind="soft")


def _pairs(group: GroupAgreement) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{pair.first} · {pair.second}",
            Number(pair.percent, 1),
            Number(pair.kappa, 2),
            Number(pair.kappa_quadratic, 2),
            pair.n,
        ]
        for pair in group.pairs
    ]
    names = ("pair", "agreement", "kappa", "quadratic", "n")
    return Table.of_cells(say("scorers.caption"), [say(f"scorers.{name}") for name in names], rows)


def _by_dimension(
    groups: Sequence[tuple[Text, GroupAgreement]], pairs: Sequence[tuple[str, str]]
) -> Table:
    def percent(group: GroupAgreement, names: tuple[str, str]) -> Cell:
        found = {(pair.first, pair.second): pair.percent for pair in group.pairs}
        return Number(found.get(names), 1)

    rows: list[list[Cell]] = [
        [label, *(percent(group, names) for names in pairs)] for label, group in groups
    ]
    header = ["", *(f"{shorten(a, 24)} · {shorten(b, 24)}" for a, b in pairs)]
    return Table.of_cells(say("scorers.by_dimension"), header, rows)


def _disagreements(own: ScorersBeside, taxonomy: Taxonomy) -> Table:
    scorers = own.agreement.raters
    rows: list[list[Cell]] = [
        [
            shorten(own.response(each).prompt or each.key.prompt_id, 48),
            view.dimension_label(taxonomy, each.dimension),
            *(str(each.scores.get(name, DASH)) for name in scorers),
        ]
        for each in own.disagreements[:_LISTED]
    ]
    header: list[Text | str] = [
        say("scorers.prompt"),
        say("dimension"),
        *(shorten(name, 24) for name in scorers),
    ]
    return Table.of_cells(say("scorers.worst"), header, rows, text=2)


def agreement_data(own: ScorersBeside) -> dict[str, Any]:
    """Returns the agreement as JSON data, with the keys of the furthest disagreements."""
    listed = [
        {**each.key._asdict(), "dimension": each.dimension, "scores": each.scores}
        for each in own.disagreements[:100]
    ]
    data = {"model": own.model, "agreement": own.agreement.model_dump()}
    return data | {"disagreeing": len(own.disagreements), "disagreements": listed}
