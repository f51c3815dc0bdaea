"""Adjudication: an adjudicator decides items whose labels differ, without seeing names.

An item comes up when nobody else can label it any more and its labels differ, one of them is a
flag, or there are fewer than there should be. All other items settle themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from flames.annotation.database import adjudications, assignments, events, items, people, settings
from flames.annotation.events import NewEvent, append_events, seconds_between
from flames.annotation.options import DecisionOptions
from flames.annotation.people import get_person, lock_person
from flames.annotation.project import Project
from flames.annotation.queue import held_by, lease_values, open_to
from flames.annotation.seals import lease_data
from flames.annotation.tasks import (
    ANY_PACE,
    STATES,
    GoneError,
    Pace,
    check_score,
    clean_text,
    item_parts,
)
from flames.errors import UsageError
from flames.records import Response
from flames.taxonomy import Dimension, Subcomponent


class Opinion(NamedTuple):
    """A person's answer to an item, without their name."""

    letter: str
    answer: str
    score: int | None
    rationale: str


class Case(NamedTuple):
    """An item to decide; `ticket` is None while nobody holds it."""

    ticket: str | None
    ref: str
    dimension: Dimension
    subcomponent: Subcomponent | None
    response: Response
    opinions: tuple[Opinion, ...]
    score: int | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the case for JSON, without names and without the model."""
        return {
            "item": self.ref,
            "dimension": self.dimension.name,
            "subcomponent": self.subcomponent.name if self.subcomponent else None,
            "prompt": self.response.prompt,
            "before": list(map(list, self.response.asked.before)),
            "response": self.response.response,
            "opinions": [opinion._asdict() for opinion in self.opinions],
        }


def disputed() -> sa.Select[Any]:
    """Selects the ids of the items that wait for a decision, held by an adjudicator or not."""

    def count(*states: str) -> Any:
        return sa.func.sum(sa.case((assignments.c.state.in_(states), 1), else_=0))

    scored = sa.case((assignments.c.state == "labelled", assignments.c.score))
    stats = (
        sa.select(
            assignments.c.item,
            count("leased", "offline").label("held"),
            count("labelled", "flagged").label("answers"),
            count("flagged").label("flags"),
            sa.func.count(scored.distinct()).label("scores"),
        )
        .where(assignments.c.kind == "work", assignments.c.state != "waiting")
        .group_by(assignments.c.item)
        .subquery()
    )
    queued = sa.select(assignments.c.item).join(people, people.c.id == assignments.c.person)
    can_label = queued.where(
        assignments.c.item == items.c.id, assignments.c.state == "waiting", people.c.active == 1,
        open_to(people.c.id),
    ).exists()  # fmt: skip
    decided = sa.select(adjudications.c.item).where(adjudications.c.state == "settled")
    settled = decided.where(adjudications.c.item == items.c.id).exists()
    differ = sa.or_(stats.c.scores > 1, stats.c.flags > 0)
    complete = sa.and_(stats.c.answers >= items.c.quota, differ)
    stuck = sa.and_(stats.c.answers < items.c.quota, ~can_label)
    query = sa.select(items.c.id).join(stats, stats.c.item == items.c.id)
    return query.where(~settled, stats.c.held == 0, sa.or_(complete, stuck))


def count_open(connection: sa.Connection) -> int:
    """Counts the items that wait for a decision."""
    query = sa.select(sa.func.count()).select_from(disputed().subquery())
    return int(connection.execute(query).scalar_one())


def open_cases(project: Project) -> list[Case]:
    """Returns all items that wait for a decision, without leasing any."""
    query = sa.select(items, items.c.id.label("item")).where(items.c.id.in_(disputed()))
    with project.database.read() as connection:
        rows = connection.execute(query.order_by(items.c.id)).all()
        return [_case(connection, project, row) for row in rows]


def current_case(project: Project, person: int) -> Case | None:
    """Returns the adjudicator's current item, or leases the next one; None when all is done."""
    now = project.now()
    with project.database.read() as connection:
        row = held_by(connection, person, now, adjudications, _query)
        if row is not None:
            return _case(connection, project, row)
    with project.database.write() as connection:
        lock_person(connection, person)
        _one_at_a_time(connection, project, now)
        row = held_by(connection, person, now, adjudications, _query)
        if row is None:
            item = _next_item(connection, person)
            if item is None:
                return None
            row = _lease(connection, project, person, item)
        return _case(connection, project, row)


def decide(
    project: Project,
    person: int,
    ticket: str,
    *,
    score: int | None,
    reason: str,
    pace: Pace = ANY_PACE,
) -> None:
    """Settles an item with a score, or None if it cannot be judged; a reason is required."""
    reason = clean_text(reason)
    with project.database.write() as connection:
        lock_person(connection, person)
        row = _owned(connection, person, ticket)
        if row.state == "settled":
            if (row.score, row.reason) == (score, reason):
                return
            raise GoneError("answered")
        pace.check(row.since, project.now())
        _settle(connection, project, row, score, reason)


def waits(connection: sa.Connection, item: int) -> bool:
    """Tells whether an item waits for a decision."""
    return connection.execute(disputed().where(items.c.id == item)).first() is not None


def decide_item(project: Project, decision: DecisionOptions) -> None:
    """Settles an item by its reference, for an adjudicator or lead by name."""
    ref, reason = str(decision.item), clean_text(decision.reason or "")
    with project.database.write() as connection:
        person = get_person(connection, decision.person or "")
        if person.role == "annotator" or not person.active:
            raise UsageError(f"{person.name} may not adjudicate")
        lock_person(connection, person.id)
        _one_at_a_time(connection, project, project.now())
        item = connection.execute(disputed().where(items.c.ref == ref)).scalar_one_or_none()
        if item is None:
            raise UsageError(f"there is no item {ref!r} that waits for a decision")
        row = connection.execute(_query(adjudications.c.item == item)).one_or_none()
        if row is not None and row.person != person.id:
            raise UsageError(f"somebody else is deciding {ref} just now")
        row = row or _lease(connection, project, person.id, item)
        _settle(connection, project, row, decision.number, reason)


def put_aside(project: Project, person: int, ticket: str, pace: Pace = ANY_PACE) -> None:
    """Gives an item back undecided; the others come first."""
    with project.database.write() as connection:
        lock_person(connection, person)
        row = _owned(connection, person, ticket)
        if row.state == "leased":
            pace.check(row.since, project.now())
            _return(connection, project, [row], "released")


def undo_decision(project: Project, person: int, pace: Pace = ANY_PACE) -> None:
    """Takes the adjudicator's last decision back; the item that they hold returns to the queue."""
    mine = adjudications.c.person == person
    with project.database.write() as connection:
        lock_person(connection, person)
        last = connection.execute(
            _query(mine, adjudications.c.state == "settled")
            .order_by(adjudications.c.seq.desc()).limit(1)
            .with_for_update(of=adjudications)
        ).one_or_none()  # fmt: skip
        if last is None:
            raise GoneError("no-undo")
        held = connection.execute(_query(mine, adjudications.c.state == "leased")).all()
        for row in held:
            pace.check(row.since, project.now())
        _return(connection, project, held, "released")
        now = project.now()
        lease = lease_values(project, now)
        data = {**lease_data(lease), "seq": last.seq}
        append_events(connection, [NewEvent("adjudication_undone", person, last.item, data)], now)
        _change(connection, last.item, seq=None, **lease)


def _settle(
    connection: sa.Connection, project: Project, row: sa.Row[Any], score: int | None, reason: str
) -> None:
    if score is not None:
        check_score(project.taxonomy, row.dimension, score)
    if not reason:
        raise UsageError("a decision needs a reason")
    now = project.now()
    data = {"score": score, "reason": reason, "seconds": seconds_between(row.since, now)}
    seq = append_events(connection, [NewEvent("adjudicated", row.person, row.item, data)], now)
    _change(
        connection, row.item, state="settled", score=score, reason=reason, seq=seq, expires=None
    )


def _change(connection: sa.Connection, item: int, **values: Any) -> None:
    query = sa.update(adjudications).where(adjudications.c.item == item)
    connection.execute(query.values(**values))


def _next_item(connection: sa.Connection, person: int) -> int | None:
    """The next disputed item that nobody holds, going round from the person's last one."""
    mine = (events.c.person == person, events.c.kind.startswith("adjudicat"))
    latest = sa.select(events.c.item).where(*mine).order_by(events.c.seq.desc()).limit(1)
    passed = items.c.id <= (connection.execute(latest).scalar_one_or_none() or 0)
    free = disputed().where(items.c.id.not_in(sa.select(adjudications.c.item)))
    query = free.order_by(sa.case((passed, 1), else_=0), items.c.id).limit(1)
    return connection.execute(query).scalar_one_or_none()


def _one_at_a_time(connection: sa.Connection, project: Project, now: str) -> None:
    """Locks out other adjudicators, so that later reads are current; returns expired leases."""
    lock = sa.select(settings.c.name).where(settings.c.name == "project")
    connection.execute(lock.with_for_update())
    expired = _query(adjudications.c.state == "leased", adjudications.c.expires <= now)
    rows = connection.execute(expired.order_by(adjudications.c.item)).all()
    _return(connection, project, rows, "expired")


def _lease(connection: sa.Connection, project: Project, person: int, item: int) -> sa.Row[Any]:
    now = project.now()
    lease = lease_values(project, now)
    connection.execute(sa.insert(adjudications).values(item=item, person=person, **lease))
    event = NewEvent("adjudicating", person, item, lease_data(lease))
    append_events(connection, [event], now)
    return connection.execute(_query(adjudications.c.item == item)).one()


def _return(
    connection: sa.Connection, project: Project, rows: Sequence[sa.Row[Any]], why: str
) -> None:
    if rows:
        new = [NewEvent("adjudication_returned", row.person, row.item, {"why": why})
               for row in rows]  # fmt: skip
        append_events(connection, new, project.now())
        ids = [row.item for row in rows]
        connection.execute(sa.delete(adjudications).where(adjudications.c.item.in_(ids)))


def return_cases(connection: sa.Connection, project: Project, ids: Sequence[int], why: str) -> None:
    """Takes items out of the hands of adjudicators, as their labels are about to change."""
    held = _query(adjudications.c.state == "leased", adjudications.c.item.in_(ids))
    locked = held.order_by(adjudications.c.item).with_for_update(of=adjudications)
    _return(connection, project, connection.execute(locked).all(), why)


def _query(*where: Any) -> sa.Select[Any]:
    shown = (items.c.ref, items.c.dimension, items.c.subcomponent, items.c.response)
    source = adjudications.join(items, items.c.id == adjudications.c.item)
    return sa.select(adjudications, *shown).select_from(source).where(*where)


def _owned(connection: sa.Connection, person: int, ticket: str) -> sa.Row[Any]:
    row = connection.execute(
        _query(adjudications.c.person == person, adjudications.c.ticket == ticket)
        .with_for_update(of=adjudications)
    ).one_or_none()  # fmt: skip
    if row is None:
        raise GoneError("gone")
    return row


def _opinions(connection: sa.Connection, item: int) -> tuple[Opinion, ...]:
    """The answers to an item, in an order that does not reveal who gave them."""
    answered = assignments.c.state.in_(STATES.values())
    found = connection.execute(sa.select(assignments).where(assignments.c.item == item, answered))
    rows = sorted(found, key=lambda row: hashlib.blake2b(f"{item} {row.person}".encode()).digest())
    return tuple(
        Opinion(chr(ord("A") + n % 26), row.state, row.score, row.rationale or "")
        for n, row in enumerate(rows)
    )


def _case(connection: sa.Connection, project: Project, row: sa.Row[Any]) -> Case:
    """Builds a case from an item's row, with or without the columns of its adjudication."""
    held = row._mapping
    return Case(
        held.get("ticket"), row.ref, *item_parts(project.taxonomy, row),
        _opinions(connection, row.item), held.get("score"), held.get("reason") or "",
    )  # fmt: skip
