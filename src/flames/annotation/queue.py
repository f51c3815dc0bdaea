"""Which item comes next for each annotator: leases, quotas, and the order of their queue.

An item never has more assignments at a time (open leases and answers together) than its quota.
PostgreSQL ensures this with row locks, SQLite with one writer at a time. The order of locks is
people, assignments, items, chain; a transaction that holds an item never waits for another.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    union_all,
    update,
)

from flames.annotation.database import assignments, batches, items
from flames.annotation.events import NewEvent, append_events, seconds_later
from flames.annotation.project import Project
from flames.annotation.seals import lease_data
from flames.annotation.tasks import (
    STATES,
    VOIDED,
    GoneError,
    Kind,
    Task,
    task_of,
    task_query,
)


def lock_items(connection: Connection, ids: Iterable[int]) -> Sequence[Any]:
    """Waits for items, in the order of their ids, and keeps them until the transaction ends."""
    query = select(items.c.id, items.c.quota, items.c.taken).order_by(items.c.id)
    locked = query.where(items.c.id.in_(sorted(set(ids)))).with_for_update(key_share=True)
    return connection.execute(locked).all()


def change_taken(connection: Connection, item: int, step: int) -> None:
    """Changes the number of places taken of an item."""
    connection.execute(_change_taken(), {"changed": item, "step": step})


@cache
def _change_taken() -> Update:
    step = bindparam("step", type_=items.c.taken.type)
    return (
        update(items).where(items.c.id == bindparam("changed")).values(taken=items.c.taken + step)
    )


def change_assignment(connection: Connection, person: int, item: int, **values: Any) -> None:
    """Changes columns of an assignment."""
    connection.execute(_change_assignment(), {"who": person, "what": item, **values})


def change_assignments(
    connection: Connection, *changes: tuple[Row[Any], Mapping[str, Any]]
) -> None:
    """Changes locked assignments, given as they are now and with what changes, at once."""
    rows = [
        {"who": row.person, "what": row.item, **{n: row._mapping[n] for n in _LEASE}, **values}
        for row, values in changes
    ]
    connection.execute(_change_assignment(), rows)


_LEASE = ("state", "ticket", "since", "expires", "score", "rationale", "seq")


@cache
def _change_assignment() -> Update:
    mine = (assignments.c.person == bindparam("who"), assignments.c.item == bindparam("what"))
    return update(assignments).where(*mine)


def retake_place(connection: Connection, item: int) -> None:
    """Takes a place again of an item whose lease ran out."""
    [row] = lock_items(connection, [item])
    if row.quota is not None and row.taken >= row.quota:
        raise GoneError("expired")
    change_taken(connection, item, 1)


def return_leases(connection: Connection, project: Project, rows: Sequence[Any], why: str) -> None:
    """Puts locked assignments back into their queues and gives their places to others."""
    entries = [NewEvent("returned", row.person, row.item, {"why": why}) for row in rows]
    append_events(connection, entries, project.now())
    for row in rows:
        change_assignment(connection, row.person, row.item, state="waiting", expires=None)
        change_taken(connection, row.item, -1)


def held_by(
    connection: Connection,
    person: int,
    now: str,
    leases: Table = assignments,
    query: Callable[..., Select[Any]] = task_query,
) -> Row[Any] | None:
    """Returns what a person has open in the browser, as `query` selects it from `leases`."""
    mine = (leases.c.person == person, leases.c.state == "leased", leases.c.expires > now)
    return connection.execute(query(*mine).limit(1)).one_or_none()


def lease_values(project: Project, now: str, offline: float | None = None) -> dict[str, str]:
    """Returns the columns of a new lease, in the browser or for some seconds in a sheet.

    Tickets stay between server and browser: events only hold their seal.
    """
    seconds = project.settings.lease_minutes * 60 if offline is None else offline
    return {
        "state": "leased" if offline is None else "offline",
        "since": now,
        "ticket": secrets.token_urlsafe(16),
        "expires": seconds_later(now, seconds),
    }


def lease_item(
    connection: Connection,
    project: Project,
    row: Row[Any],
    *,
    offline: float | None = None,
) -> Task:
    """Leases a locked item to its person."""
    now = project.now()
    values = lease_values(project, now, offline)
    data = lease_data(values) | ({} if offline is None else {"offline": True})
    leased = NewEvent("leased", row.person, row.item, data)
    append_events(connection, [leased], now)
    change_taken(connection, row.item, 1)
    change_assignment(connection, row.person, row.item, **values)
    return task_of(project, row, values["ticket"])


def choose(
    connection: Connection, project: Project, who: Row[Any], *, training: bool = True
) -> Row[Any] | None:
    """Locks the next item in the person's queue, training first; None if no free one is left.

    `who` is the person as `lock_person` returns them.
    """
    person = who.id
    if training:
        row = connection.execute(_candidates("training"), {"person": person}).first()
        if row is not None:
            return row
    row = free_work(connection, who, lock=True)
    if row is None:
        return None  # a control at the end would stand out, and serve nobody
    if size := _block_size(project):
        served = count_served(count_states(connection, person))
        if served % size == _control_slot(project, person, served // size):
            control = connection.execute(_candidates("control"), {"person": person}).first()
            row = control or row
    return row


def free_work(connection: Connection, who: Row[Any], *, lock: bool) -> Row[Any] | None:
    """Returns the first free work item in the person's queue, those of their batches first.

    None if there is none, or they have given as many labels as they are to give.
    """
    if who.quota is not None and _given(connection, who.id) >= who.quota:
        return None
    for theirs in (True, False) if who.batched else (False,):
        row = connection.execute(_candidates("work", theirs, lock), {"person": who.id}).first()
        if row is not None:
            return row
    return None


@cache
def _candidates(kind: Kind, theirs: bool = False, lock: bool = False) -> Select[Any]:
    """Selects the first item of a kind in a person's queue that they may have.

    Of the work those of their batches, or those of no batch.
    """
    person = bindparam("person", type_=assignments.c.person.type)
    where = [assignments.c.person == person, assignments.c.state == "waiting"]
    if kind == "work":
        mine = select(batches.c.name).where(batches.c.person == person)
        batch = items.c.batch.in_(mine) if theirs else items.c.batch.is_(None)
        where += [items.c.taken < items.c.quota, batch]
    query = task_query(*where, assignments.c.kind == kind)
    query = query.order_by(assignments.c.position).limit(1)
    return query.with_for_update(of=items, key_share=True, skip_locked=True) if lock else query


def _given(connection: Connection, person: int) -> int:
    """Counts the labels and flags that a person gave or is about to give."""
    states = ("labelled", "flagged", "leased", "offline")
    mine = (assignments.c.person == person, assignments.c.kind == "work")
    query = select(func.count()).where(*mine, assignments.c.state.in_(states))
    return int(connection.execute(query).scalar_one())


def open_to(person: Any) -> ColumnElement[bool]:
    """Tells in SQL whether an item's batch lets this person have it."""
    theirs = exists().where(batches.c.name == items.c.batch, batches.c.person == person)
    return or_(items.c.batch.is_(None), theirs)


Counts = dict[tuple[str, str], int]


def count_states(connection: Connection, person: int) -> Counts:
    """Counts the person's assignments by kind and state; not the work that waits, often most."""
    rows = connection.execute(_states(), {"person": person})
    return {(kind, state): n for kind, state, n in rows}


@cache
def _states() -> CompoundSelect[Any]:
    return union_all(*state_counts(bindparam("person", type_=assignments.c.person.type)))


def state_counts(person: ColumnElement[Any]) -> tuple[Select[Any], ...]:
    """Selects, in parts of a union, what `count_states` returns: kind, state and number."""
    by = (assignments.c.kind, assignments.c.state)
    mine = assignments.c.person == person
    begun = assignments.c.state.in_(("leased", "offline", *STATES.values(), VOIDED))
    known = (assignments.c.state == "waiting", assignments.c.kind.in_(("control", "training")))
    return tuple(
        select(*by, func.count()).where(mine, *part).group_by(*by) for part in ((begun,), known)
    )


def count_served(counts: Counts) -> int:
    """Counts the work and control items that the person has answered or holds."""
    return sum(
        n for (kind, state), n in counts.items() if kind != "training" and state != "waiting"
    )


def training_left(counts: Counts) -> tuple[int, int]:
    """Counts the items of a person's training round, and those not answered yet."""
    training = {state: n for (kind, state), n in counts.items() if kind == "training"}
    return sum(training.values()), training.get("waiting", 0) + training.get("leased", 0)


def _block_size(project: Project) -> int:
    rate = project.settings.control_rate
    return round(1 / rate) if rate else 0


def _control_slot(project: Project, person: int, block: int) -> int:
    text = f"{project.settings.seed} {person} {block}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % _block_size(project)


def controls_ahead(project: Project, person: int, served: int, work: int, left: int) -> int:
    """Counts the controls among the next `work` work items, after `served` of both kinds."""
    size = _block_size(project)
    if not size or not work:
        return 0
    block, offset = divmod(served, size)
    passed = _control_slot(project, person, block) < offset
    # Counted from the start of this block: a block has one control and `size - 1` work items.
    whole, rest = divmod(work + offset - passed - 1, size - 1)
    ahead = whole + (_control_slot(project, person, block + whole) <= rest) - passed
    return min(ahead, left)


def sweep(project: Project) -> int:
    """Returns expired leases to the queues, and how many there were."""
    expired = and_(
        assignments.c.state.in_(("leased", "offline")), assignments.c.expires <= project.now()
    )
    with project.database.look() as connection:
        if not connection.execute(select(exists().where(expired))).scalar_one():
            return 0
    with project.database.write() as connection:
        rows = connection.execute(
            select(assignments.c.person, assignments.c.item)
            .where(expired)
            .order_by(assignments.c.item, assignments.c.person)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()
        lock_items(connection, [row.item for row in rows])
        return_leases(connection, project, rows, "expired")
        return len(rows)
