"""Takes labels of a person out, so that others get their items, and brings them back.

A voided label stays in the events and in the person's queue, so they never get the item again. It
is in no export, count or agreement. Answers to training items and controls, and skips, stay: they
show how somebody works, and no item waits for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, func, select

from flames.annotation.adjudication import return_cases
from flames.annotation.database import adjudications, assignments, events, items, people
from flames.annotation.events import NewEvent, append_events, in_span
from flames.annotation.lead_options import VoidOptions
from flames.annotation.people import Person, get_lead, get_person, lock_person
from flames.annotation.project import Project
from flames.annotation.queue import change_assignment, change_taken, lock_items, open_to
from flames.annotation.tasks import STATES, VOIDED, clean_text
from flames.errors import InputError, UsageError
from flames.records import Frozen
from flames.text import shorten


class Voided(Frozen):
    """What voiding labels, or bringing them back (`undone`), came to, counted in items.

    Decisions on `decided` ones stand, nobody else can label `stuck` ones, so that they go to the
    adjudicator, and `beyond_quota` ones have more labels than wanted, as others came in between.
    """

    person: str
    undone: bool
    labels: int
    decided: int
    stuck: int
    beyond_quota: int


def void(project: Project, name: str, choice: VoidOptions) -> Voided:
    """Voids a person's labels on work items, or brings voided ones back: all of them or none."""
    reason = clean_text(choice.reason or "")
    with project.database.write() as connection:
        lead, person = get_lead(connection, choice.person), get_person(connection, name)
        lock_person(connection, person.id)
        rows = _chosen(connection, person, choice)
        ids = sorted(row.item for row in rows)
        lock_items(connection, ids)
        return_cases(connection, project, ids, "voided")
        kind, told = ("restored" if choice.undo else VOIDED), {"by": lead.id, "reason": reason}
        answers = [json.loads(row.data)["answer"] for row in rows]
        new = [
            NewEvent(kind, person.id, row.item, {**told, "seq": row.seq, "answer": answer})
            for row, answer in zip(rows, answers, strict=True)
        ]
        append_events(connection, new, project.now())
        for row, answer in zip(rows, answers, strict=True):
            state = STATES[answer] if choice.undo else VOIDED
            change_assignment(connection, person.id, row.item, state=state)
            change_taken(connection, row.item, 1 if choice.undo else -1)
        return Voided(
            person=person.name, undone=choice.undo, labels=len(rows),
            decided=_count(connection, ids, _decided()),
            stuck=0 if choice.undo else _count(connection, ids, ~_somebody()),
            beyond_quota=_count(connection, ids, items.c.taken > items.c.quota),
        )  # fmt: skip


def _chosen(connection: Connection, person: Person, choice: VoidOptions) -> Sequence[Row[Any]]:
    """Returns the labels that are meant, with the data of their events, in the items' order."""
    states = (VOIDED,) if choice.undo else ("labelled", "flagged")
    query: Select[Any] = (
        select(assignments.c.item, assignments.c.seq, items.c.ref, events.c.at, events.c.data)
        .join(items, items.c.id == assignments.c.item)
        .join(events, events.c.seq == assignments.c.seq)
        .where(assignments.c.person == person.id, assignments.c.kind == "work")
        .where(assignments.c.state.in_(states))
        .order_by(assignments.c.item)
    )
    rows = connection.execute(query).all()
    what = "voided labels" if choice.undo else "labels"
    missing = set(choice.items).difference(row.ref for row in rows)
    if missing:
        named = ", ".join(shorten(ref, 20) for ref in sorted(missing)[:5])
        raise InputError(f"{person.name} has no {what} on {named}", field="item")
    chosen = [row for row in rows if _meant(row, choice)]
    if not chosen:
        raise UsageError(f"{person.name} has no {what} like that: nothing was changed")
    return chosen


def _meant(row: Row[Any], choice: VoidOptions) -> bool:
    data = json.loads(row.data)
    return (
        (not choice.items or row.ref in choice.items)
        and (not choice.under_floor or data.get("under_floor") is not None)
        and in_span(row.seq, data.get("labelled_at") or row.at, choice.since, choice.until)
    )


def _count(connection: Connection, ids: Sequence[int], condition: Any) -> int:
    query = select(func.count()).select_from(items).where(items.c.id.in_(ids), condition)
    return int(connection.execute(query).scalar_one())


def _decided() -> Any:
    settled = (adjudications.c.item == items.c.id, adjudications.c.state == "settled")
    return exists().where(*settled)


def _somebody() -> Any:
    """Whether an active person has the item before them."""
    return exists(
        select(assignments.c.item)
        .join(people, people.c.id == assignments.c.person)
        .where(assignments.c.item == items.c.id, people.c.active == 1)
        .where(assignments.c.state.in_(("waiting", "leased", "offline")), open_to(people.c.id))
    )
