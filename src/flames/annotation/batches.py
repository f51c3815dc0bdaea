"""Batches: items that only some people get, before any others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from flames.annotation.database import adjudications, assignments, batches, items, people
from flames.annotation.events import NewEvent, append_events
from flames.annotation.lead_options import BatchOptions
from flames.annotation.people import Person, get_lead, get_person
from flames.annotation.project import Project
from flames.annotation.queue import lock_items
from flames.errors import InputError, UsageError
from flames.records import Frozen
from flames.text import for_terminal, has_visible_text, shorten


class Batch(Frozen):
    """A batch: its items, how many labels they still lack, and who gets them."""

    name: str
    items: int
    missing: int
    people: tuple[str, ...]


def list_batches(project: Project) -> list[Batch]:
    """Returns all batches, by name."""
    with project.database.read() as connection:
        return _batches(connection)


def _batches(connection: Connection) -> list[Batch]:
    names: dict[str, list[str]] = {}
    joined = select(batches.c.name, people.c.name.label("who")).join(
        people, people.c.id == batches.c.person
    )
    for row in connection.execute(joined.order_by(batches.c.name, people.c.id)):
        names.setdefault(row.name, []).append(row.who)
    counted = (
        select(items.c.batch, func.count(), func.sum(items.c.quota - items.c.taken))
        .where(items.c.batch.is_not(None))
        .group_by(items.c.batch)
    )
    found = {row[0]: (row[1], row[2]) for row in connection.execute(counted)}
    return [
        Batch(name=name, items=found[name][0], missing=found[name][1], people=tuple(who))
        for name, who in names.items()
    ]


def assign_batch(
    project: Project, name: str, choice: BatchOptions, lead: str | None = None
) -> Batch | None:
    """Gives items to some people alone, or a batch's items to everybody again (returns None).

    New items are added to those that the batch has. Labels that there are stay, and who holds an
    item may still answer it.
    """
    name = _checked_name(name)
    with project.database.write() as connection:
        by = get_lead(connection, lead)
        who = [get_person(connection, each) for each in choice.people]
        for person in who:
            if person.role != "annotator":
                raise UsageError(f"{person.name} does not label; a batch is for annotators")
        have = list(connection.scalars(select(items.c.id).where(items.c.batch == name)))
        known = connection.execute(select(batches.c.person).where(batches.c.name == name))
        if choice.free:
            if not known.first():
                raise UsageError(f"there is no batch {shorten(name)!r}")
            chosen: list[int] = []
        else:
            new = _chosen(connection, choice)
            chosen = sorted({*have, *new})
            if not chosen:
                raise UsageError("no item is left for this batch: nothing was changed")
            if not who:
                theirs = select(people).join(batches, batches.c.person == people.c.id)
                rows = connection.execute(theirs.where(batches.c.name == name)).all()
                who = [get_person(connection, row.name) for row in rows]
            if not who:
                raise UsageError("say who gets the batch with --to NAME,…")
        lock_items(connection, [*have, *chosen])
        ids = sorted({person.id for person in who})
        _store(connection, name, chosen, ids)
        if not choice.free:
            _refuse_stuck(connection, chosen, who)
        data = {"name": name, "items": chosen, "people": ids}
        append_events(connection, [NewEvent("batch", by.id, None, data)], project.now())
        return next((batch for batch in _batches(connection) if batch.name == name), None)


def _store(connection: Connection, name: str, chosen: list[int], who: list[int]) -> None:
    connection.execute(update(items).where(items.c.batch == name).values(batch=None))
    for start in range(0, len(chosen), 500):
        part = items.c.id.in_(chosen[start : start + 500])
        connection.execute(update(items).where(part).values(batch=name))
    connection.execute(delete(batches).where(batches.c.name == name))
    if who:
        connection.execute(insert(batches), [{"name": name, "person": each} for each in who])


def _chosen(connection: Connection, choice: BatchOptions) -> list[int]:
    """Returns the items that are meant, of those in no batch; unanswered ones first."""
    free = (items.c.kind == "work", items.c.batch.is_(None))
    if choice.items:
        rows = connection.execute(
            select(items.c.id, items.c.ref).where(*free, items.c.ref.in_(choice.items))
        ).all()
        missing = set(choice.items).difference(row.ref for row in rows)
        if missing:
            named = ", ".join(shorten(ref, 20) for ref in sorted(missing)[:5])
            raise InputError(f"not items that are in no other batch: {named}", field="item")
        return [row.id for row in rows]
    if choice.count is None and choice.dimension is None:
        return []
    decided = select(adjudications.c.item)
    wanted = [*free, items.c.taken < items.c.quota, items.c.id.not_in(decided)]
    if choice.dimension is not None:
        wanted.append(items.c.dimension == choice.dimension)
    query = select(items.c.id).where(*wanted).order_by(items.c.taken, items.c.id)
    return list(connection.scalars(query.limit(choice.count)))


def _refuse_stuck(connection: Connection, chosen: Sequence[int], who: Sequence[Person]) -> None:
    """Refuses a batch whose people cannot give all labels that its items lack."""
    ids = [person.id for person in who]
    can = and_(assignments.c.state == "waiting", assignments.c.person.in_(ids))
    takes = or_(can, assignments.c.state.in_(("labelled", "flagged", "leased", "offline")))
    rows: list[Row[Any]] = []
    for start in range(0, len(chosen), 500):
        counted = (
            select(items.c.ref, items.c.quota, func.count(assignments.c.person).label("n"))
            .join(assignments, and_(assignments.c.item == items.c.id, takes), isouter=True)
            .where(items.c.id.in_(chosen[start : start + 500]), items.c.taken < items.c.quota)
            .group_by(items.c.id, items.c.ref, items.c.quota)
        )
        rows += connection.execute(counted).all()
    short = [row for row in rows if row.n < row.quota]
    if short:
        message = (
            f"{len(short)} items take {max(row.quota for row in short)} labels each, more than "
            "these people can give: assign the batch to more people"
        )
        raise UsageError(message)


def _checked_name(name: str) -> str:
    plain = name.strip()
    if not has_visible_text(plain) or len(plain) > 80 or for_terminal(plain) != plain:
        raise UsageError(f"a batch's name has 1 to 80 visible characters, not {shorten(name)!r}")
    return plain
