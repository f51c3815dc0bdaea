"""Tables of a project for the terminal: progress, people, agreement, items to adjudicate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flames.reports.tables import Cell, Column, Number, Table
from flames.reports.words import join, listed, name_of, say
from flames.taxonomy import Taxonomy, Text
from flames.text import shorten

if TYPE_CHECKING:  # these need the extra `annotate`, which `flames annotate --help` does not
    from flames.annotation.adjudication import Case
    from flames.annotation.batches import Batch
    from flames.annotation.comments import Comment
    from flames.annotation.insight import Insight, PersonStatus, Status
    from flames.annotation.people import Person
    from flames.metrics.agreement import GroupAgreement


def status_tables(status: Status) -> Iterator[Table]:
    """Yields the progress of a project, and how each person is doing."""
    counts: list[tuple[Cell, ...]] = [
        (say("lead.items"), status.items),
        (say("lead.places"), status.places),
        (say("lead.given"), status.filled),
        (say("lead.unanimous"), status.unanimous),
        (say("lead.adjudicated"), status.adjudicated),
        (say("lead.disputed"), status.disputed),
        (say("lead.open"), status.open),
        (say("lead.flags"), status.flags),
        (say("lead.skips"), status.skips),
    ]
    yield Table.of_cells(status.name, ("", ""), counts)
    columns: list[Column[PersonStatus]] = [
        Column(say("lead.person"), lambda p: p.name, text=True),
        Column(say("lead.role"), lambda p: _role(p), text=True),
        Column(say("lead.labels"), lambda p: p.labels or p.decisions),
        Column(say("lead.flags"), lambda p: p.flags),
        Column(say("lead.skips"), lambda p: p.skips),
        Column(say("lead.open.short"), lambda p: p.in_hand),
        Column(say("lead.seconds.short"), lambda p: Number(p.median_seconds)),
        Column(say("lead.quick.short"), lambda p: Number(p.under_floor_share, 0)),
        Column(say("lead.controls.short"), lambda p: Number(p.controls.accuracy, 0)),
        Column(
            say("lead.training.short"),
            lambda p: f"{p.training.right}/{p.training.n}" if p.training.n else None,
        ),
        Column(say("lead.last"), lambda p: (p.last or "–")[:16].replace("T", " ")),
    ]
    yield Table.of(say("lead.people"), columns, status.people)


def _role(person: Person | PersonStatus) -> Text:
    name = name_of("people.role", person.role)
    if person.active and person.held is None:
        return name
    return join(name, " (", say("people.held" if person.active else "people.stopped"), ")")


def people_table(people: Sequence[Person]) -> Table:
    """Builds the table of everybody who takes part, and how they sign in."""

    def ways(person: Person) -> Text | None:
        names = {"link": person.has_link, "password": person.has_password}
        return listed(say(f"people.{name}") for name, has in names.items() if has)

    columns: list[Column[Person]] = [
        Column(say("people.name"), lambda p: p.name, text=True),
        Column(say("people.role"), lambda p: _role(p), text=True),
        Column(say("people.access"), ways, text=True),
        Column(say("people.quota"), lambda p: p.quota),
        Column(say("people.guideline"), lambda p: p.guideline or None),
    ]
    return Table.of(say("people.title"), columns, people)


def part_labels(taxonomy: Taxonomy) -> dict[str, Text]:
    """Returns what subcomponents are called, by the names that an `Insight` has for them."""
    return {part.name: part.label for each in taxonomy.dimensions for part in each.subcomponents}


def agreement_tables(insight: Insight, taxonomy: Taxonomy) -> Iterator[Table]:
    """Yields agreement by group, by pair of annotators, and by person."""
    overall = insight.agreement.overall
    parts = part_labels(taxonomy)
    groups: list[tuple[Text | str, GroupAgreement]] = [
        (say("lead.all"), overall),
        *((taxonomy.dimension(name).label, g) for name, g in insight.agreement.dimensions.items()),
        *((join("  ", parts.get(name, name)), g) for name, g in insight.subcomponents.items()),
    ]
    columns: list[Column[Any]] = [
        Column(say("lead.group"), lambda row: row[0], text=True),
        Column(say("lead.pairable"), lambda row: row[1].pairable),
        Column(say("lead.percent"), lambda row: Number(row[1].percent)),
        Column(say("lead.alpha"), lambda row: Number(row[1].alpha_nominal, 2)),
        Column(say("lead.alpha_ordinal"), lambda row: Number(row[1].alpha_ordinal, 2)),
    ]
    yield Table.of(say("lead.agreement"), columns, groups)
    columns = [
        Column(say("lead.pair"), lambda pair: pair.first, text=True),
        Column("", lambda pair: pair.second, text=True),
        Column("n", lambda pair: pair.n),
        Column(say("lead.percent"), lambda pair: Number(pair.percent)),
        Column(say("lead.kappa"), lambda pair: Number(pair.kappa, 2)),
        Column(say("lead.kappa_quadratic"), lambda pair: Number(pair.kappa_quadratic, 2)),
    ]
    yield Table.of(say("lead.pairs"), columns, overall.pairs)
    columns = [
        Column(say("lead.person"), lambda rater: rater.rater, text=True),
        Column("n", lambda rater: rater.n),
        Column(say("lead.with_others"), lambda rater: Number(rater.percent)),
        Column(say("lead.bias_above"), lambda rater: Number(rater.bias, 2)),
    ]
    yield Table.of(say("lead.people"), columns, overall.raters)


def case_table(cases: Sequence[Case]) -> Table:
    """Builds the table of items that wait for a decision."""

    def labels(case: Case) -> Text:
        return listed(
            say(f"adjudicate.{o.answer}") if o.score is None else str(o.score)
            for o in case.opinions
        )

    columns: list[Column[Case]] = [
        Column(say("adjudicate.item"), lambda case: case.ref, text=True),
        Column(say("eval.dimension"), lambda case: case.dimension.label, text=True),
        Column(say("lead.labels"), labels, text=True),
        Column(
            say("adjudicate.prompt"),
            lambda case: shorten(case.response.prompt or "", 50),
            text=True,
        ),
    ]
    return Table.of(say("adjudicate.waiting", n=len(cases)), columns, cases)


def batch_table(found: Sequence[Batch]) -> Table:
    """Builds the table of batches and who gets them."""
    columns: list[Column[Batch]] = [
        Column(say("plan.batch"), lambda batch: batch.name, text=True),
        Column(say("plan.items"), lambda batch: batch.items),
        Column(say("plan.missing"), lambda batch: batch.missing),
        Column(say("plan.people"), lambda batch: ", ".join(batch.people), text=True),
    ]
    return Table.of(say("plan.batches"), columns, found)


def comment_table(found: Sequence[Comment]) -> Table:
    """Builds the table of comments on items."""
    columns: list[Column[Comment]] = [
        Column("n", lambda each: each.number),
        Column(say("adjudicate.item"), lambda each: each.item, text=True),
        Column(say("lead.person"), lambda each: each.by, text=True),
        Column(say("comments.to"), lambda each: each.to, text=True),
        Column(say("comments.text"), lambda each: shorten(each.text, 60), text=True),
    ]
    return Table.of(say("comments.title"), columns, found)
