"""Checks the store: the chain of events, and every table that is derived from it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from flames.annotation.create import taxonomy_digest
from flames.annotation.database import adjudications, assignments, chain, events, items, people
from flames.annotation.events import GENESIS, Event, NewEvent, event_hash, last_event
from flames.annotation.ledger import Item, Ledger, items_digest, read_items
from flames.annotation.project import Project, ProjectSettings
from flames.annotation.tasks import VOIDED
from flames.records import Frozen

_MOST = 20


class Verification(Frozen):
    """What checking the store found; `hash`, of the last event, later proves that none changed."""

    events: int
    last: str
    hash: str
    items: int
    labels: int
    decisions: int
    problems: tuple[str, ...]


def verify(project: Project) -> Verification:
    """Checks the whole store, and derives its tables again from the events.

    Problems are a broken chain, items or settings unlike the first ones, events that could not
    follow from the previous ones or exceed scales and quotas, and tables unlike the events.
    """
    with project.database.read() as connection:
        problems: list[str] = []
        log = _check_chain(connection, problems)
        _check_settings(connection, project, log, problems)
        drawn = read_items(connection)
        ledger = _replay(drawn, project, log, problems)
        problems += _table_problems(connection, ledger)
        head = last_event(connection)
    if len(problems) > _MOST:
        problems = [*problems[:_MOST], f"and {len(problems) - _MOST} more"]
    return Verification(
        events=head.seq,
        last=head.at,
        hash=head.hash,
        items=len(drawn),
        labels=sum(given.score is not None for given in ledger.answers.values()),
        decisions=len(ledger.decisions),
        problems=tuple(problems),
    )


def _check_chain(connection: Connection, problems: list[str]) -> list[Event]:
    previous, at, number = GENESIS, "", 0
    log: list[Event] = []
    for row in connection.execute(select(events).order_by(events.c.seq)):
        number += 1
        if row.seq != number:
            problems.append(f"event {number} is missing")
            number = row.seq
        entry = NewEvent(row.kind, row.person, row.item)
        if row.hash != event_hash(previous, row.seq, row.at, entry, row.data):
            problems.append(
                f"event {row.seq} does not follow from the previous one: it was changed"
            )
        if row.at < at:
            problems.append(f"event {row.seq} is older than the previous one")
        previous, at = row.hash, row.at
        try:
            data: dict[str, Any] = json.loads(row.data)
        except ValueError:
            problems.append(f"event {row.seq} cannot be read")
            continue
        log.append(Event(row.seq, row.at, row.kind, row.person, row.item, data, row.hash))
    end = connection.execute(select(chain)).one()
    if (end.seq, end.hash) != (number, previous):
        problems.append(f"the last event should be number {end.seq}; it is number {number}")
    return log


def _check_settings(
    connection: Connection, project: Project, log: list[Event], problems: list[str]
) -> None:
    if not log or log[0].kind != "project":
        problems.append("the first event does not create the project")
        return
    created = log[0].data
    rows = connection.execute(select(items).order_by(items.c.id)).mappings().all()
    if items_digest(rows) != created.get("items_sha256"):
        problems.append("the items are not those that were drawn")
    if taxonomy_digest(project.settings.taxonomy) != created.get("taxonomy_sha256"):
        problems.append("the taxonomy is not the one that the project was created with")
    settings = project.settings.model_dump(mode="json", exclude={"taxonomy"})
    fields = ProjectSettings.model_fields  # an older project was created without the newest
    if any(created.get(name, fields[name].default) != value for name, value in settings.items()):
        problems.append("the settings are not those that the project was created with")


def _replay(
    drawn: dict[int, Item], project: Project, log: list[Event], problems: list[str]
) -> Ledger:
    scales = {d.name: d.scale for d in project.taxonomy.dimensions}
    ledger = Ledger()
    taken: dict[int, int] = {}
    for event in log:
        item = drawn.get(event.item) if event.item is not None else None
        if event.item is not None and item is None:
            problems.append(f"event {event.seq}: there is no item {event.item}")
            continue
        score = event.data.get("score")
        if item is not None and score is not None and score not in scales[item.dimension]:
            problems.append(f"event {event.seq}: {item.dimension} has no score {score}")
        before = _places(ledger, event)
        ledger.apply([event])
        if item is None:
            continue
        more = _places(ledger, event) - before
        taken[item.id] = taken.get(item.id, 0) + more
        free = event.kind == "restored" or "source" in event.data  # these may exceed the quota
        if more > 0 and not free and item.quota is not None and taken[item.id] > item.quota:
            problems.append(f"event {event.seq}: item {item.id} exceeds its quota")
    problems += ledger.faults
    return ledger


def _places(ledger: Ledger, event: Event) -> int:
    """Places that the event's person takes of its item."""
    if event.person is None or event.item is None:
        return 0
    key = (event.person, event.item)
    given = ledger.answers.get(key)
    return int(key in ledger.leases or (given is not None and given.answer != "skipped"))


def _table_problems(connection: Connection, ledger: Ledger) -> list[str]:
    """Compares every row of the derived tables with what the events say."""
    expected: dict[str, Any] = {
        _assignment(*key): ("offline" if offline else "leased", None, None)
        for key, offline in ledger.leases.items()
    }
    for key, given in ledger.answers.items():
        expected[_assignment(*key)] = (given.answer, given.score, given.seq)
    for key, given in ledger.voided.items():
        expected[_assignment(*key)] = (VOIDED, given.score, given.seq)
    for item, person in ledger.deciding.items():
        expected[f"adjudication of item {item}"] = ("leased", person, None)
    for item, done in ledger.decisions.items():
        expected[f"adjudication of item {item}"] = ("settled", done.person, done.score)
    expected |= {f"places taken of item {item}": n for item, n in ledger.taken().items()}
    expected |= {f"person {number}": tuple(who) for number, who in ledger.people.items()}

    stored: dict[str, Any] = {}
    for row in connection.execute(select(assignments).where(assignments.c.state != "waiting")):
        stored[_assignment(row.person, row.item)] = (row.state, row.score, row.seq)
    for row in connection.execute(select(adjudications)):
        score = row.score if row.state == "settled" else None  # an undone decision keeps its score
        stored[f"adjudication of item {row.item}"] = (row.state, row.person, score)
    for row in connection.execute(select(items.c.id, items.c.taken).where(items.c.taken != 0)):
        stored[f"places taken of item {row.id}"] = row.taken
    for row in connection.execute(select(people)):
        stored[f"person {row.id}"] = (row.name, row.role, bool(row.active), row.held, row.cleared)
    return [
        f"{what}: the table says {stored.get(what)}, the events say {expected.get(what)}"
        for what in sorted(stored.keys() | expected.keys())
        if stored.get(what) != expected.get(what)
    ]


def _assignment(person: int, item: int) -> str:
    return f"assignment of item {item} to person {person}"
