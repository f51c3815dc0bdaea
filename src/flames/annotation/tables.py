"""Tables of a project for the terminal: progress, people, agreement, items to adjudicate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flames.reports.tables import Column, Number, Table
from flames.text import shorten

if TYPE_CHECKING:  # these need the extra `annotate`, which `flames annotate --help` does not
    from flames.annotation.adjudication import Case
    from flames.annotation.insight import Insight, PersonStatus, Status
    from flames.annotation.people import Person
    from flames.metrics.agreement import GroupAgreement


def status_tables(status: Status) -> Iterator[Table]:
    """Yields the progress of a project, and how each person is doing."""
    counts = (
        ("items", status.items),
        ("labels wanted", status.places),
        ("labels given", status.filled),
        ("unanimous", status.unanimous),
        ("adjudicated", status.adjudicated),
        ("to adjudicate", status.disputed),
        ("still open", status.open),
        ("flags", status.flags),
        ("skips", status.skips),
    )
    yield Table.of_cells(status.name, ("", ""), counts)
    columns: list[Column[PersonStatus]] = [
        Column("name", lambda p: p.name, text=True),
        Column("role", lambda p: p.role if p.active else f"{p.role}, stopped", text=True),
        Column("labels", lambda p: p.labels or p.decisions),
        Column("flags", lambda p: p.flags),
        Column("skips", lambda p: p.skips),
        Column("open", lambda p: p.in_hand),
        Column("s", lambda p: Number(p.median_seconds)),
        Column("right", lambda p: Number(p.controls.accuracy, 0)),
        Column(
            "training", lambda p: f"{p.training.right}/{p.training.n}" if p.training.n else None
        ),
        Column("last", lambda p: (p.last or "–")[:16].replace("T", " ")),
    ]
    title = "People (median seconds per answer; per cent of control items right)"
    yield Table.of(title, columns, status.people)


def people_table(people: Sequence[Person]) -> Table:
    """Builds the table of everybody who takes part, and how they sign in."""

    def ways(person: Person) -> str | None:
        names = {"link": person.has_link, "password": person.has_password}
        return ", ".join(name for name, has in names.items() if has) or None

    columns: list[Column[Person]] = [
        Column("name", lambda p: p.name, text=True),
        Column("role", lambda p: p.role, text=True),
        Column("", lambda p: "" if p.active else "stopped", text=True),
        Column("signs in by", ways, text=True),
    ]
    return Table.of("People", columns, people)


def agreement_tables(insight: Insight) -> Iterator[Table]:
    """Yields agreement by group, by pair of annotators, and by person."""
    overall = insight.agreement.overall
    groups: list[tuple[str, GroupAgreement]] = [
        ("all", overall),
        *insight.agreement.dimensions.items(),
        *((f"  {name}", group) for name, group in insight.subcomponents.items()),
    ]
    columns: list[Column[Any]] = [
        Column("group", lambda row: row[0], text=True),
        Column("items", lambda row: row[1].pairable),
        Column("per cent", lambda row: Number(row[1].percent)),
        Column("alpha nominal", lambda row: Number(row[1].alpha_nominal, 2)),
        Column("alpha ordinal", lambda row: Number(row[1].alpha_ordinal, 2)),
    ]
    yield Table.of("Agreement", columns, groups)
    columns = [
        Column("", lambda pair: pair.first, text=True),
        Column("", lambda pair: pair.second, text=True),
        Column("items", lambda pair: pair.n),
        Column("per cent", lambda pair: Number(pair.percent)),
        Column("kappa", lambda pair: Number(pair.kappa, 2)),
        Column("kappa quadratic", lambda pair: Number(pair.kappa_quadratic, 2)),
    ]
    yield Table.of("Pairs", columns, overall.pairs)
    columns = [
        Column("name", lambda rater: rater.rater, text=True),
        Column("items", lambda rater: rater.n),
        Column("agree with others %", lambda rater: Number(rater.percent)),
        Column("bias (above 0: milder)", lambda rater: Number(rater.bias, 2)),
    ]
    yield Table.of("People", columns, overall.raters)


def case_table(cases: Sequence[Case]) -> Table:
    """Builds the table of items that wait for a decision."""

    def labels(case: Case) -> str:
        return ", ".join(o.answer if o.score is None else str(o.score) for o in case.opinions)

    columns: list[Column[Case]] = [
        Column("item", lambda case: case.ref, text=True),
        Column("dimension", lambda case: case.dimension.name, text=True),
        Column("labels", labels, text=True),
        Column("prompt", lambda case: shorten(case.response.prompt or "", 50), text=True),
    ]
    return Table.of(f"{len(cases)} to decide", columns, cases)
