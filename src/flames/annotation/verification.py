"""Checks the store: the chain of events, and every table that is derived from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Double, Integer, Table, func, select

from flames.annotation.create import taxonomy_digest
from flames.annotation.database import (
    adjudications,
    assignments,
    batches,
    chain,
    comments,
    events,
    guidelines,
    items,
    metadata,
    people,
    settings,
)
from flames.annotation.derived import UNTOLD, Derived, Row, fresh_assignment, matches
from flames.annotation.events import GENESIS, Event, NewEvent, event_hash
from flames.annotation.ledger import Item, Ledger, items_digest, read_items
from flames.annotation.project import RULES, Project, ProjectSettings
from flames.annotation.seals import stored_queue
from flames.records import Frozen
from flames.text import shorten

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
    problems: list[str] = []
    drawn: dict[int, Item] = {}
    ledger = Ledger()
    log: list[Event] = []
    with project.database.read() as connection:
        if project.database.sqlite:
            problems += _foreign_values(connection)
        if not problems:
            log = _check_chain(connection, problems)
            _check_settings(connection, project, log, problems)
            try:
                drawn = read_items(connection)
            except (ValueError, TypeError) as error:  # pydantic's, and JSON's
                problems.append(f"an item cannot be read: {shorten(str(error))}")
            else:
                derived = Derived(drawn)
                ledger = _replay(drawn, project, log, derived, problems)
                problems += ledger.faults
                problems += _table_problems(connection, ledger, derived)
    if len(problems) > _MOST:
        problems = [*problems[:_MOST], f"and {len(problems) - _MOST} more"]
    head = log[-1] if log else Event(0, "", "", None, None, {}, GENESIS)
    return Verification(
        events=head.seq,
        last=head.at,
        hash=head.hash,
        items=len(drawn),
        labels=sum(given.score is not None for given in ledger.answers.values()),
        decisions=len(ledger.decisions),
        problems=tuple(problems),
    )


def _foreign_values(connection: Connection) -> Iterator[str]:
    """Yields columns that hold what is not of their type, which SQLite allows anybody else."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            number = "real" if isinstance(column.type, Double) else "integer"
            kind = number if isinstance(column.type, Double | Integer) else "text"
            foreign = func.typeof(column).not_in((kind, "null"))
            found = connection.execute(select(func.count()).where(foreign)).scalar_one()
            if found:
                yield f"{table.name}: {found} values of {column.name} are not {kind}"


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
    ends = [tuple(end) for end in connection.execute(select(chain))]
    if ends != [(1, number, at, previous)]:
        said = ", ".join(f"number {end[1]} at {end[2]}" for end in ends) or "missing"
        problems.append(f"the last event should be {said}; it is number {number} at {at}")
    return log


def _check_settings(
    connection: Connection, project: Project, log: list[Event], problems: list[str]
) -> None:
    own = settings.c.name.not_in(("project", RULES))
    names = connection.scalars(select(settings.c.name).where(own))
    problems += [f"setting {shorten(name)!r}: no event made it" for name in names]
    if not log or log[0].kind != "project":
        problems.append("the first event does not create the project")
        return
    created = log[0].data
    rows = connection.execute(select(items).order_by(items.c.id)).mappings().all()
    additions = [event.data for event in log if event.kind == "added"]
    parts: list[list[Any]] = [[] for _ in range(len(additions) + 1)]
    for row in rows:
        added = (n for n, a in enumerate(additions, start=1) if _within(row["id"], a))
        parts[next(added, 0)].append(row)
    for part, told in zip(parts, [created, *additions], strict=True):
        if items_digest(part) != told.get("items_sha256"):
            problems.append("the items are not those that were drawn")
    if taxonomy_digest(project.settings.taxonomy) != created.get("taxonomy_sha256"):
        problems.append("the taxonomy is not the one that the project was created with")
    stored = project.settings.model_dump(mode="json", exclude={"taxonomy"})
    fields = ProjectSettings.model_fields  # an older project was created without the newest
    if any(created.get(name, fields[name].default) != value for name, value in stored.items()):
        problems.append("the settings are not those that the project was created with")


def _replay(
    drawn: dict[int, Item], project: Project, log: list[Event], derived: Derived,
    problems: list[str],
) -> Ledger:  # fmt: skip
    scales = {d.name: d.scale for d in project.taxonomy.dimensions}
    ledger = Ledger()
    taken: dict[int, int] = {}
    for event in log:
        item = drawn.get(event.item) if event.item is not None else None
        if event.item is not None and item is None:
            problems.append(f"event {event.seq}: there is no item {event.item}")
            continue
        before = _places(ledger, event)
        try:
            ledger.apply([event])
            derived.apply(event)
            score = event.data.get("score")
        except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
            problems.append(f"event {event.seq} ({event.kind}) says what no event can")
            continue
        if item is None:
            continue
        if score is not None and score not in scales.get(item.dimension, ()):
            problems.append(f"event {event.seq}: {item.dimension} has no score {score}")
        more = _places(ledger, event) - before
        taken[item.id] = taken.get(item.id, 0) + more
        free = event.kind == "restored" or "source" in event.data  # these may exceed the quota
        if more > 0 and not free and item.quota is not None and taken[item.id] > item.quota:
            problems.append(f"event {event.seq}: item {item.id} exceeds its quota")
    return ledger


def _places(ledger: Ledger, event: Event) -> int:
    """Places that the event's person takes of its item."""
    if event.person is None or event.item is None:
        return 0
    key = (event.person, event.item)
    given = ledger.answers.get(key)
    return int(key in ledger.leases or (given is not None and given.answer != "skipped"))


def _table_problems(connection: Connection, ledger: Ledger, derived: Derived) -> Iterator[str]:
    """Compares every row and column of the derived tables with what the events say."""
    given = {row.id: _columns(row, "id") for row in connection.execute(select(people))}
    names = {number: f"person {number}" for number in given.keys() | derived.people.keys()}
    yield from _differences(given, derived.people, names)

    given = {}
    for row in connection.execute(select(adjudications)):
        given[row.item] = _columns(row, "item")
    cases = {n: f"adjudication of item {n}" for n in given.keys() | derived.adjudications.keys()}
    yield from _differences(given, derived.adjudications, cases)

    given, expected = {}, dict(derived.assignments)
    for row in connection.execute(select(assignments)):
        key = row.person, row.item
        given[key] = _columns(row, "person", "item")
        if key not in expected and row.state == "waiting" and row.item in derived.items:
            # Nobody had it yet: only the queue's seal knows that it was given at all.
            made = fresh_assignment(derived.items[row.item])
            expected[key] = made | ({} if row.position is not None else {"position": "a number"})
    named = {
        key: f"assignment of item {key[1]} to person {key[0]}"
        for key in given.keys() | expected.keys()
    }
    yield from _differences(given, expected, named)
    yield from _queue_problems(connection, derived)

    counted = ledger.taken()
    for row in connection.execute(select(items).order_by(items.c.id)):
        if row.taken != counted[row.id]:
            yield _said(f"places taken of item {row.id}", row.taken, counted[row.id])
        for name, should in derived.item(row.id).items():
            if not matches(row._mapping[name], should):
                yield _said(f"item {row.id}: {name}", row._mapping[name], should)
    yield from _decided_by_leads(connection, derived)


def _decided_by_leads(connection: Connection, derived: Derived) -> Iterator[str]:
    """Compares the tables of what leads decide on the way."""
    told: list[tuple[Table, dict[Any, Row], str]] = [
        (guidelines, dict(derived.guidelines), "guideline"),
        (comments, dict(derived.comments), "comment"),
        (batches, dict(derived.batches), "batch"),
    ]
    for table, expected, name in told:
        keys = [column.name for column in table.primary_key]
        given: dict[Any, Row] = {}
        for row in connection.execute(select(table)):
            key = tuple(row._mapping[each] for each in keys)
            given[key if len(key) > 1 else key[0]] = _columns(row, *keys)
        named = {key: f"{name} {_key(key)}" for key in given.keys() | expected.keys()}
        yield from _differences(given, expected, named)
    query = select(settings.c.value).where(settings.c.name == RULES)
    stored = connection.execute(query).scalar_one_or_none()
    if stored != derived.rules:
        yield _said("the leads' rules", stored, derived.rules)


def _key(key: Any) -> str:
    return " of person ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _within(number: int, addition: Mapping[str, Any]) -> bool:
    try:
        return bool(addition["first"] <= number <= addition["last"])
    except (KeyError, TypeError):
        return False


def _columns(row: Any, *keys: str) -> Row:
    return {name: value for name, value in row._mapping.items() if name not in keys}


def _differences(
    stored: Mapping[Any, Row], expected: Mapping[Any, Row], names: Mapping[Any, str]
) -> Iterator[str]:
    for key in sorted(names):
        row, should = stored.get(key), expected.get(key)
        if row is None or should is None:
            has = "events have it, the table does" if row is None else "table has it, the events do"
            yield f"{names[key]}: the {has} not"
            continue
        for name, value in row.items():
            if not matches(value, should[name]):
                yield _said(f"{names[key]}: {name}", value, should[name])


def _queue_problems(connection: Connection, derived: Derived) -> Iterator[str]:
    for person, told in sorted(derived.queues.items()):
        if told is not UNTOLD and stored_queue(connection, person) != told:
            yield f"the queue of person {person} is not the one that they were given"


def _said(what: str, stored: Any, expected: Any) -> str:
    """Says what differs, without showing what is only sealed."""
    if isinstance(expected, tuple):
        return f"{what}: the table has another than the events"
    return f"{what}: the table says {_short(stored)}, the events say {_short(expected)}"


def _short(value: Any) -> str:
    return repr(shorten(value)) if isinstance(value, str) else repr(value)
