"""Adjudication: items whose labels differ are decided by somebody who sees them without names.

An item comes up when nobody else can label it any more and its labels differ, one of them is a
flag, or there are fewer than there should be. Everything else settles itself.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from flames.annotation import events as _events
from flames.annotation.events import NewEvent
from flames.annotation.options import DecisionOptions
from flames.annotation.people import get_person
from flames.annotation.project import Project
from flames.annotation.queue import fresh_lease, held_by, lock_person
from flames.annotation.schema import adjudications, assignments, events, items, people, settings
from flames.annotation.tasks import GoneError, clean_text, part_of
from flames.errors import UsageError
from flames.records import Response
from flames.taxonomy import Dimension, Subcomponent

_MINE = ("adjudicating", "adjudication_returned", "adjudicated", "adjudication_undone")


class Opinion(NamedTuple):
    """What somebody said of an item, without telling who."""

    letter: str
    answer: str
    score: int | None
    rationale: str


class Case(NamedTuple):
    """An item to decide; `ticket` is None while it is in nobody's hands."""

    ticket: str | None
    ref: str
    dimension: Dimension
    subcomponent: Subcomponent | None
    response: Response
    opinions: tuple[Opinion, ...]
    score: int | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """For programs: without names and without the model."""
        return {
            "item": self.ref,
            "dimension": self.dimension.name,
            "subcomponent": self.subcomponent.name if self.subcomponent else None,
            "prompt": self.response.prompt,
            "response": self.response.response,
            "opinions": [opinion._asdict() for opinion in self.opinions],
        }


def disputed() -> Select[Any]:
    """Ids of the items that wait for an adjudicator, being decided or not."""
    held = assignments.c.state.in_(("leased", "offline"))
    said = assignments.c.state.in_(("labelled", "flagged"))
    stats = (
        select(
            assignments.c.item,
            func.sum(case((held, 1), else_=0)).label("held"),
            func.sum(case((said, 1), else_=0)).label("said"),
            func.sum(case((assignments.c.state == "flagged", 1), else_=0)).label("flags"),
            func.count(assignments.c.score.distinct()).label("scores"),
        )
        .where(assignments.c.kind == "work", assignments.c.state != "waiting")
        .group_by(assignments.c.item)
        .subquery()
    )
    somebody = (
        select(assignments.c.item)
        .join(people, people.c.id == assignments.c.person)
        .where(
            assignments.c.item == items.c.id,
            assignments.c.state == "waiting",
            people.c.active == 1,
        )
        .exists()
    )
    settled = (
        select(adjudications.c.item)
        .where(adjudications.c.item == items.c.id, adjudications.c.state == "settled")
        .exists()
    )
    differ = or_(stats.c.scores > 1, stats.c.flags > 0)
    return (
        select(items.c.id)
        .join(stats, stats.c.item == items.c.id)
        .where(
            ~settled,
            stats.c.held == 0,
            or_(
                and_(stats.c.said >= items.c.quota, differ),
                and_(stats.c.said < items.c.quota, ~somebody),
            ),
        )
    )


def count_open(connection: Connection) -> int:
    """How many items wait for an adjudicator."""
    return int(
        connection.execute(select(func.count()).select_from(disputed().subquery())).scalar_one()
    )


def open_cases(project: Project) -> list[Case]:
    """All items that wait for an adjudicator; nothing is leased, so they have no ticket."""
    with project.database.read() as connection:
        rows = connection.execute(
            select(items, items.c.id.label("item"))
            .where(items.c.id.in_(disputed()))
            .order_by(items.c.id)
        ).all()
        return [_case(connection, project, row) for row in rows]


def current_case(project: Project, person: int) -> Case | None:
    """The item that the adjudicator has, or the next one, leased to them; None when all is done."""
    now = _events.stamp(project.clock())
    with project.database.read() as connection:
        row = _held(connection, person, now)
        if row is not None:
            return _case(connection, project, row)
    with project.database.write() as connection:
        lock_person(connection, person)
        _one_at_a_time(connection)
        _return_expired(connection, project, now)
        row = _held(connection, person, now)
        if row is None:
            item = _next_item(connection, person)
            if item is None:
                return None
            _lease(connection, project, person, item)
            row = _held(connection, person, now)
            assert row is not None
        return _case(connection, project, row)


def decide(project: Project, person: int, ticket: str, *, score: int | None, reason: str) -> None:
    """Settles an item: a score, or None where it cannot be judged; a reason is needed.

    Raises:
        GoneError: The item is no longer in the adjudicator's hands.
        UsageError: The score is not on the scale, or there is no reason.
    """
    reason = clean_text(reason)
    with project.database.write() as connection:
        lock_person(connection, person)
        row = _owned(connection, person, ticket)
        if row.state == "settled":
            if (row.score, row.reason) == (score, reason):
                return
            raise GoneError("answered")
        _settle(connection, project, row, score, reason)


def decide_item(project: Project, decision: DecisionOptions) -> None:
    """Settles an item by its reference, for an adjudicator or lead by their name.

    Raises:
        InputError: Nobody has that name.
        UsageError: The person may not adjudicate, the item does not wait for a decision, or
            somebody else has it.
    """
    ref, reason = str(decision.item), clean_text(decision.reason or "")
    with project.database.read() as connection:
        found = get_person(connection, decision.person or "")
    if found.role == "annotator" or not found.active:
        raise UsageError(f"{found.name} may not adjudicate")
    person = found.id
    now = _events.stamp(project.clock())
    with project.database.write() as connection:
        lock_person(connection, person)
        _one_at_a_time(connection)
        _return_expired(connection, project, now)
        item = connection.execute(select(items.c.id).where(items.c.ref == ref)).scalar_one_or_none()
        if item is None or connection.execute(disputed().where(items.c.id == item)).first() is None:
            raise UsageError(f"there is no item {ref!r} that waits for a decision")
        mine = connection.execute(_joined(adjudications.c.item == item)).one_or_none()
        if mine is not None and mine.person != person:
            raise UsageError(f"somebody else is deciding {ref} just now")
        if mine is None:
            _lease(connection, project, person, item)
        row = connection.execute(_joined(adjudications.c.item == item)).one()
        _settle(connection, project, row, decision.number, reason)


def put_aside(project: Project, person: int, ticket: str) -> None:
    """Gives an item back undecided; the others come first."""
    with project.database.write() as connection:
        lock_person(connection, person)
        row = _owned(connection, person, ticket)
        if row.state == "leased":
            _return(connection, project, [row], "released")


def undo_decision(project: Project, person: int) -> None:
    """Takes the adjudicator's last decision back; what they had open returns to the queue.

    Raises:
        GoneError: There is none.
    """
    with project.database.write() as connection:
        lock_person(connection, person)
        last = connection.execute(
            _joined(adjudications.c.person == person, adjudications.c.state == "settled")
            .order_by(adjudications.c.seq.desc()).limit(1)
            .with_for_update(of=adjudications)
        ).one_or_none()  # fmt: skip
        if last is None:
            raise GoneError("no-undo")
        held = connection.execute(
            _joined(adjudications.c.person == person, adjudications.c.state == "leased")
        ).all()
        if held:
            _return(connection, project, held, "released")
        now = _events.stamp(project.clock())
        lease = fresh_lease(project, now)
        entry = NewEvent(
            "adjudication_undone", person, last.item, {"expires": lease["expires"], "seq": last.seq}
        )
        _events.append(connection, [entry], project.clock())
        connection.execute(
            update(adjudications)
            .where(adjudications.c.item == last.item)
            .values(state="leased", since=now, seq=None, **lease)
        )


def _settle(
    connection: Connection, project: Project, row: Row[Any], score: int | None, reason: str
) -> None:
    scale = project.taxonomy.dimension(row.dimension).scale
    if score is not None and score not in scale:
        raise UsageError(f"a score in {row.dimension} is {' or '.join(map(str, scale))}")
    if not reason:
        raise UsageError("a decision needs a reason")
    moment = project.clock()
    seconds = max((moment - _events.moment(row.since)).total_seconds(), 0.0)
    data = {"score": score, "reason": reason, "seconds": round(seconds, 3)}
    [event] = _events.append(
        connection, [NewEvent("adjudicated", row.person, row.item, data)], moment
    )
    connection.execute(
        update(adjudications)
        .where(adjudications.c.item == row.item)
        .values(state="settled", score=score, reason=reason, seq=event.seq, expires=None)
    )


def _next_item(connection: Connection, person: int) -> int | None:
    """The next disputed item in nobody's hands, going round from the person's last one."""
    last = connection.execute(
        select(events.c.item)
        .where(events.c.person == person, events.c.kind.in_(_MINE))
        .order_by(events.c.seq.desc())
        .limit(1)
    ).scalar_one_or_none()
    query = (
        disputed()
        .where(items.c.id.not_in(select(adjudications.c.item)))
        .order_by(case((items.c.id <= (last or 0), 1), else_=0), items.c.id)
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def _one_at_a_time(connection: Connection) -> None:
    """Adjudicators take and give back items one after the other; what is read next is fresh."""
    connection.execute(
        select(settings.c.name).where(settings.c.name == "project").with_for_update()
    )


def _lease(connection: Connection, project: Project, person: int, item: int) -> None:
    now = _events.stamp(project.clock())
    lease = fresh_lease(project, now)
    connection.execute(
        insert(adjudications).values(item=item, person=person, state="leased", since=now, **lease)
    )
    entry = NewEvent("adjudicating", person, item, {"expires": lease["expires"]})
    _events.append(connection, [entry], project.clock())


def _return_expired(connection: Connection, project: Project, now: str) -> None:
    over = connection.execute(
        _joined(adjudications.c.state == "leased", adjudications.c.expires <= now).order_by(
            adjudications.c.item
        )
    ).all()
    if over:
        _return(connection, project, over, "expired")


def _return(connection: Connection, project: Project, rows: Any, why: str) -> None:
    entries = [
        NewEvent("adjudication_returned", row.person, row.item, {"why": why}) for row in rows
    ]
    _events.append(connection, entries, project.clock())
    connection.execute(
        delete(adjudications).where(adjudications.c.item.in_([row.item for row in rows]))
    )


def _joined(*where: Any) -> Select[Any]:
    return (
        select(
            adjudications, items.c.ref, items.c.dimension, items.c.subcomponent, items.c.response
        )
        .select_from(adjudications.join(items, items.c.id == adjudications.c.item))
        .where(*where)
    )


def _owned(connection: Connection, person: int, ticket: str) -> Row[Any]:
    row = connection.execute(
        _joined(adjudications.c.person == person, adjudications.c.ticket == ticket)
        .with_for_update(of=adjudications)
    ).one_or_none()  # fmt: skip
    if row is None:
        raise GoneError("gone")
    return row


def _held(connection: Connection, person: int, now: str) -> Row[Any] | None:
    return held_by(connection, person, now, adjudications, _joined)


def opinions(connection: Connection, item: int) -> tuple[Opinion, ...]:
    """What was said of an item, in an order that tells nothing of who said it."""
    rows = connection.execute(
        select(assignments).where(
            assignments.c.item == item, assignments.c.state.in_(("labelled", "flagged", "skipped"))
        )
    ).all()
    rows = sorted(rows, key=lambda row: hashlib.blake2b(f"{item} {row.person}".encode()).digest())
    return tuple(
        Opinion(chr(ord("A") + n % 26), row.state, row.score, row.rationale or "")
        for n, row in enumerate(rows)
    )


def _case(connection: Connection, project: Project, row: Row[Any]) -> Case:
    """A case from an item's row, with or without the columns of its adjudication."""
    dimension = project.taxonomy.dimension(row.dimension)
    held = row._mapping
    return Case(
        held.get("ticket"),
        row.ref,
        dimension,
        part_of(dimension, row.subcomponent),
        Response.model_validate(json.loads(row.response)),
        opinions(connection, row.item),
        held.get("score"),
        held.get("reason") or "",
    )
