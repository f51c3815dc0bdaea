"""Checking the store: the chain of events, and every table that is derived from it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, select

from flames.annotation import events as _events
from flames.annotation.create import items_digest, taxonomy_digest
from flames.annotation.events import GENESIS, Event, NewEvent
from flames.annotation.ledger import Ledger, read_items
from flames.annotation.project import Project
from flames.annotation.schema import adjudications, assignments, chain, events, items, people

_SHOWN = 20


class Verification(BaseModel):
    """What checking the store found; `problems` is empty when it is sound.

    `hash` is the last event's: noted down somewhere else, it later proves that nothing before
    it was changed.
    """

    model_config = ConfigDict(frozen=True)

    events: int
    last: str
    hash: str
    items: int
    labels: int
    decisions: int
    problems: tuple[str, ...]


def verify(project: Project) -> Verification:
    """Re-reads everything and derives it anew.

    Checks that the chain of events is whole and its times never fall; that items and taxonomy are
    those that were drawn; that every event could follow from the ones before, scores on their
    scale and no item beyond its quota at any time; and that the tables say what the events say.
    """
    with project.database.read() as connection:
        problems: list[str] = []
        happened = _chain(connection, problems)
        _fixed(connection, project, happened, problems)
        ledger = _replay(connection, project, happened, problems)
        _tables(connection, ledger, problems)
        head = _events.head(connection)
        count = len(read_items(connection))
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"and {len(problems) - _SHOWN} more"]
    return Verification(
        events=head.seq,
        last=head.at,
        hash=head.hash,
        items=count,
        labels=sum(given.score is not None for given in ledger.answers.values()),
        decisions=len(ledger.decisions),
        problems=tuple(problems),
    )


def _chain(connection: Connection, problems: list[str]) -> list[Event]:
    before, at, number = GENESIS, "", 0
    happened: list[Event] = []
    for row in connection.execute(select(events).order_by(events.c.seq)):
        number += 1
        if row.seq != number:
            problems.append(f"event {number} is missing")
            number = row.seq
        entry = NewEvent(row.kind, row.person, row.item)
        if row.hash != _events.link(before, row.seq, row.at, entry, row.data):
            problems.append(f"event {row.seq} does not follow from the one before: it was changed")
        if row.at < at:
            problems.append(f"event {row.seq} is older than the one before")
        before, at = row.hash, row.at
        try:
            data: dict[str, Any] = json.loads(row.data)
        except ValueError:
            problems.append(f"event {row.seq} cannot be read")
            continue
        happened.append(Event(row.seq, row.at, row.kind, row.person, row.item, data, row.hash))
    end = connection.execute(select(chain)).one()
    if (end.seq, end.hash) != (number, before):
        problems.append(f"the last event should be number {end.seq}; it is number {number}")
    return happened


def _fixed(
    connection: Connection, project: Project, happened: list[Event], problems: list[str]
) -> None:
    if not happened or happened[0].kind != "project":
        problems.append("the first event is not the project's beginning")
        return
    begun = happened[0].data
    rows = connection.execute(select(items).order_by(items.c.id)).mappings().all()
    if items_digest(rows) != begun.get("items_sha256"):
        problems.append("the items are not those that were drawn")
    if taxonomy_digest(project.settings.taxonomy) != begun.get("taxonomy_sha256"):
        problems.append("the taxonomy is not the one that the project began with")
    settings = project.settings.model_dump(mode="json", exclude={"taxonomy"})
    if any(begun.get(name) != value for name, value in settings.items()):
        problems.append("the settings are not those that the project began with")


def _replay(
    connection: Connection, project: Project, happened: list[Event], problems: list[str]
) -> Ledger:
    known = read_items(connection)
    scales = {d.name: d.scale for d in project.taxonomy.dimensions}
    ledger = Ledger()
    taken: dict[int, int] = {}
    for event in happened:
        item = known.get(event.item) if event.item is not None else None
        if event.item is not None and item is None:
            problems.append(f"event {event.seq}: there is no item {event.item}")
            continue
        score = event.data.get("score")
        if item is not None and score is not None and score not in scales[item.dimension]:
            problems.append(f"event {event.seq}: {score} is no score in {item.dimension}")
        before = _places(ledger, event)
        ledger.apply([event])
        if item is None:
            continue
        more = _places(ledger, event) - before
        taken[item.id] = taken.get(item.id, 0) + more
        imported = "source" in event.data  # may add to what an item has; assignments may not
        if more > 0 and not imported and item.quota is not None and taken[item.id] > item.quota:
            problems.append(f"event {event.seq}: item {item.id} goes beyond its quota")
    problems += ledger.faults
    return ledger


def _places(ledger: Ledger, event: Event) -> int:
    """Places that the event's person takes of its item."""
    if event.person is None or event.item is None:
        return 0
    key = (event.person, event.item)
    given = ledger.answers.get(key)
    return int(key in ledger.leases or (given is not None and given.answer != "skipped"))


def _tables(connection: Connection, ledger: Ledger, problems: list[str]) -> None:
    said: dict[tuple[int, int], tuple[Any, ...]] = {
        key: ("offline" if offline else "leased", None, None)
        for key, offline in ledger.leases.items()
    }
    for key, given in ledger.answers.items():
        said[key] = (given.answer, given.score, given.seq)
    query = select(assignments).where(assignments.c.state != "waiting")
    for row in connection.execute(query):
        expected = said.pop((row.person, row.item), None)
        # An undone answer keeps its text, not its score.
        found = (row.state, row.score, row.seq)
        if expected != found:
            problems.append(
                f"assignment of item {row.item} to person {row.person}: the table says {found}, "
                f"the events say {expected}"
            )
    problems += [f"no assignment of item {item} to person {person}" for person, item in said]
    taken = ledger.taken()
    for row in connection.execute(select(items.c.id, items.c.taken)):
        if row.taken != taken.get(row.id, 0):
            problems.append(
                f"item {row.id}: the table says that {row.taken} places are taken, "
                f"the events say {taken.get(row.id, 0)}"
            )
    decided: dict[int, tuple[Any, ...]] = {
        item: ("leased", person, None) for item, person in ledger.deciding.items()
    }
    decided |= {d.item: ("settled", d.person, d.score) for d in ledger.decisions.values()}
    for row in connection.execute(select(adjudications)):
        score = row.score if row.state == "settled" else None
        if decided.pop(row.item, None) != (row.state, row.person, score):
            problems.append(f"adjudication of item {row.item} is not what the events say")
    problems += [f"no adjudication of item {item}" for item in decided]
    named = {
        row.id: (row.name, row.role, bool(row.active)) for row in connection.execute(select(people))
    }
    if named != {number: tuple(person) for number, person in ledger.people.items()}:
        problems.append("the people are not those that the events name")
