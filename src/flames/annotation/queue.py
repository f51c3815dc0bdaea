"""Which item is whose, and which comes next: leases, quotas, everybody's own order.

An item never has more assignments at a time (open leases and answers together) than its quota.
Row locks see to it on PostgreSQL, one writer at a time on SQLite. The order of locks is people,
assignments, items, chain; a transaction that holds an item never waits for another.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, Table, and_, exists, func, select, update

from flames.annotation import events as _events
from flames.annotation.events import NewEvent
from flames.annotation.project import Project
from flames.annotation.schema import assignments, items, people
from flames.annotation.tasks import GoneError, Kind, task_query


def lock_person(connection: Connection, person: int) -> None:
    """One transaction a person at a time: two tabs cannot get two items."""
    connection.execute(
        select(people.c.id).where(people.c.id == person).with_for_update(key_share=True)
    )


def lock_item(connection: Connection, item: int) -> Row[Any]:
    """Waits for an item and keeps it to the end of the transaction."""
    query = select(items).where(items.c.id == item).with_for_update(key_share=True)
    return connection.execute(query).one()


def retake_place(connection: Connection, item: int) -> None:
    """Takes a place of an item again whose lease ran out, if there is one left."""
    row = lock_item(connection, item)
    if row.quota is not None and row.taken >= row.quota:
        raise GoneError("expired")
    connection.execute(update(items).where(items.c.id == item).values(taken=items.c.taken + 1))


def free_place(connection: Connection, person: int, item: int) -> None:
    """Puts a leased item back into the person's queue, and its place at others' disposal."""
    connection.execute(
        update(assignments)
        .where(assignments.c.person == person, assignments.c.item == item)
        .values(state="waiting", expires=None)
    )
    connection.execute(update(items).where(items.c.id == item).values(taken=items.c.taken - 1))


def held_by(
    connection: Connection,
    person: int,
    now: str,
    leases: Table = assignments,
    rows: Callable[..., Select[Any]] = task_query,
) -> Row[Any] | None:
    """What the person has in the browser, if its time is not up.

    Args:
        connection: Any transaction.
        person: Who.
        now: The time.
        leases: The table of what people have.
        rows: Selects from it what pages show.
    """
    mine = (leases.c.person == person, leases.c.state == "leased", leases.c.expires > now)
    return connection.execute(rows(*mine).limit(1)).one_or_none()


class Lease(NamedTuple):
    """An item that is about to be in somebody's hands."""

    row: Row[Any]
    entry: NewEvent
    values: dict[str, str]


def fresh_lease(project: Project, now: str, seconds: float | None = None) -> dict[str, str]:
    """A new ticket and the time until which it holds.

    Tickets stay between server and browser: events tell only when a lease ends.
    """
    span = project.settings.lease_minutes * 60 if seconds is None else seconds
    return {"ticket": secrets.token_urlsafe(16), "expires": _events.later(now, span)}


def new_lease(
    project: Project, row: Row[Any], moment: datetime, offline: float | None = None
) -> Lease:
    """A lease to be: in the browser, or for some seconds in a sheet (`offline`)."""
    now = _events.stamp(moment)
    fresh = fresh_lease(project, now, offline)
    told: dict[str, Any] = {"expires": fresh["expires"]}
    state = "leased"
    if offline is not None:
        told["offline"], state = True, "offline"
    entry = NewEvent("leased", row.person, row.item, told)
    return Lease(row, entry, {"state": state, "since": now, **fresh})


def give(connection: Connection, lease: Lease) -> None:
    """Puts an item into somebody's hands, after the event that says so."""
    row = lease.row
    connection.execute(update(items).where(items.c.id == row.item).values(taken=items.c.taken + 1))
    connection.execute(
        update(assignments)
        .where(assignments.c.person == row.person, assignments.c.item == row.item)
        .values(lease.values)
    )


def lease_next(
    connection: Connection,
    project: Project,
    person: int,
    *,
    offline: float | None = None,
    training: bool = True,
) -> Lease | None:
    """Leases the next item of the person's own order; the person must be locked."""
    row = choose(connection, project, person, training=training)
    if row is None:
        return None
    moment = project.clock()
    lease = new_lease(project, row, moment, offline)
    _events.append(connection, [lease.entry], moment)
    give(connection, lease)
    return lease


def choose(
    connection: Connection, project: Project, person: int, *, training: bool = True
) -> Row[Any] | None:
    """The next item of the person's own order, locked; None if others hold all that are left.

    Args:
        connection: A writing transaction.
        project: The project.
        person: Whose item it will be.
        training: Whether training items come first.
    """
    if training:
        row = connection.execute(candidates(person, "training")).first()
        if row is not None:
            return row
    free = candidates(person, "work").with_for_update(of=items, key_share=True, skip_locked=True)
    row = connection.execute(free).first()
    if row is None:
        return None  # a control alone would stand out, and serve nobody
    if _block(project) and _control_due(
        project, person, served_of(count_states(connection, person))
    ):
        row = connection.execute(candidates(person, "control")).first() or row
    return row


def candidates(person: int, kind: Kind) -> Select[Any]:
    """The first item of a kind in the person's order that they may have."""
    conditions = [
        assignments.c.person == person,
        assignments.c.state == "waiting",
        assignments.c.kind == kind,
    ]
    if kind == "work":
        conditions.append(items.c.taken < items.c.quota)
    return task_query(*conditions).order_by(assignments.c.position).limit(1)


Counts = dict[tuple[str, str], int]


def count_states(connection: Connection, person: int) -> Counts:
    """The person's assignments by kind and state."""
    rows = connection.execute(
        select(assignments.c.kind, assignments.c.state, func.count())
        .where(assignments.c.person == person)
        .group_by(assignments.c.kind, assignments.c.state)
    )
    return {(row[0], row[1]): row[2] for row in rows}


def served_of(counts: Counts) -> int:
    """How many items of the real queue were put before the person, answered or in hand."""
    return sum(
        n for (kind, state), n in counts.items() if kind != "training" and state != "waiting"
    )


def _block(project: Project) -> int:
    """Items in a block of the real queue that holds one control; 0 without controls."""
    rate = project.settings.control_rate
    return round(1 / rate) if rate else 0


def _control_slot(project: Project, person: int, block: int) -> int:
    size = _block(project)
    text = f"{project.settings.seed} {person} {block}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % size


def _control_due(project: Project, person: int, served: int) -> bool:
    size = _block(project)
    return served % size == _control_slot(project, person, served // size)


def controls_ahead(project: Project, person: int, served: int, work: int, left: int) -> int:
    """How many controls will come among the next `work` items of the real queue."""
    size = _block(project)
    if not size or not work:
        return 0
    ahead = 0
    position = served
    while work and ahead < left:
        block, offset = divmod(position, size)
        if offset == 0 and work >= 2 * size:  # whole blocks hold one control each
            whole = min(work // (size - 1) - 1, left - ahead)
            ahead, position, work = (
                ahead + whole,
                position + whole * size,
                work - whole * (size - 1),
            )
        elif offset == _control_slot(project, person, block):
            ahead, position = ahead + 1, position + 1
        else:
            position, work = position + 1, work - 1
    return ahead


def sweep(project: Project) -> int:
    """Returns leases that ran out to the queue; tells how many."""
    now = _events.stamp(project.clock())
    over = and_(assignments.c.state.in_(("leased", "offline")), assignments.c.expires <= now)
    with project.database.look() as connection:
        if not connection.execute(select(exists().where(over))).scalar_one():
            return 0
    with project.database.write() as connection:
        rows = connection.execute(
            select(assignments.c.person, assignments.c.item)
            .where(over)
            .order_by(assignments.c.item, assignments.c.person)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()
        ids = sorted({row.item for row in rows})
        connection.execute(
            select(items.c.id).where(items.c.id.in_(ids)).order_by(items.c.id)
            .with_for_update(key_share=True)
        )  # fmt: skip
        entries = [NewEvent("returned", row.person, row.item, {"why": "expired"}) for row in rows]
        _events.append(connection, entries, project.clock())
        for row in rows:
            free_place(connection, row.person, row.item)
        return len(rows)
