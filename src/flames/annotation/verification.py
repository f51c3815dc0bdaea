"""Checks the store: the chain of events, and every table that is derived from it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from flames.annotation.create import taxonomy_digest
from flames.annotation.database import adjudications, assignments, chain, events, items, people
from flames.annotation.events import GENESIS, Event, NewEvent, event_hash, last_event
from flames.annotation.ledger import Ledger, items_digest, read_items
from flames.annotation.project import Project
from flames.records import Frozen

_MOST = 20


class Verification(Frozen):
    """What checking the store found; `problems` is empty when it is sound.

    `hash` is that of the last event: noted down elsewhere, it later proves that nothing before
    that event was changed.
    """

    events: int
    last: str
    hash: str
    items: int
    labels: int
    decisions: int
    problems: tuple[str, ...]


def verify(project: Project) -> Verification:
    """Reads the whole store and derives its tables again from the events.

    Checks that the chain of events is whole and its times never decrease; that items and taxonomy
    are those of the draw; that every event could follow from the previous ones, with scores on
    their scale and no item beyond its quota at any time; and that the tables match the events.
    """
    with project.database.read() as connection:
        problems: list[str] = []
        log = _check_chain(connection, problems)
        _check_settings(connection, project, log, problems)
        ledger = _replay(connection, project, log, problems)
        _check_assignments(connection, ledger, problems)
        _check_places(connection, ledger, problems)
        _check_adjudications(connection, ledger, problems)
        _check_people(connection, ledger, problems)
        head = last_event(connection)
        count = len(read_items(connection))
    if len(problems) > _MOST:
        problems = [*problems[:_MOST], f"and {len(problems) - _MOST} more"]
    return Verification(
        events=head.seq,
        last=head.at,
        hash=head.hash,
        items=count,
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
    if any(created.get(name) != value for name, value in settings.items()):
        problems.append("the settings are not those that the project was created with")


def _replay(
    connection: Connection, project: Project, log: list[Event], problems: list[str]
) -> Ledger:
    known = read_items(connection)
    scales = {d.name: d.scale for d in project.taxonomy.dimensions}
    ledger = Ledger()
    taken: dict[int, int] = {}
    for event in log:
        item = known.get(event.item) if event.item is not None else None
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
        imported = "source" in event.data  # imports may exceed the quota; assignments may not
        if more > 0 and not imported and item.quota is not None and taken[item.id] > item.quota:
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


def _check_assignments(connection: Connection, ledger: Ledger, problems: list[str]) -> None:
    expected: dict[tuple[int, int], tuple[Any, ...]] = {
        key: ("offline" if offline else "leased", None, None)
        for key, offline in ledger.leases.items()
    }
    for key, given in ledger.answers.items():
        expected[key] = (given.answer, given.score, given.seq)
    for row in connection.execute(select(assignments).where(assignments.c.state != "waiting")):
        wanted = expected.pop((row.person, row.item), None)
        stored = (row.state, row.score, row.seq)
        if stored != wanted:
            problems.append(
                f"assignment of item {row.item} to person {row.person}: the table says {stored}, "
                f"the events say {wanted}"
            )
    problems += [f"no assignment of item {item} to person {person}" for person, item in expected]


def _check_places(connection: Connection, ledger: Ledger, problems: list[str]) -> None:
    taken = ledger.taken()
    problems += [
        f"item {row.id}: the table says that {row.taken} places are taken, "
        f"the events say {taken[row.id]}"
        for row in connection.execute(select(items.c.id, items.c.taken))
        if row.taken != taken[row.id]
    ]


def _check_adjudications(connection: Connection, ledger: Ledger, problems: list[str]) -> None:
    expected: dict[int, tuple[Any, ...]] = {
        item: ("leased", person, None) for item, person in ledger.deciding.items()
    }
    expected |= {d.item: ("settled", d.person, d.score) for d in ledger.decisions.values()}
    for row in connection.execute(select(adjudications)):
        score = row.score if row.state == "settled" else None
        if expected.pop(row.item, None) != (row.state, row.person, score):
            problems.append(f"adjudication of item {row.item}: the table differs from the events")
    problems += [f"no adjudication of item {item}" for item in expected]


def _check_people(connection: Connection, ledger: Ledger, problems: list[str]) -> None:
    rows = connection.execute(select(people))
    stored = {row.id: (row.name, row.role, bool(row.active)) for row in rows}
    if stored != {number: tuple(person) for number, person in ledger.people.items()}:
        problems.append("the people are not those that the events name")
