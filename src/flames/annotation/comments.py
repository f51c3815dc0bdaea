"""Comments on items: what annotators and leads tell each other, and nobody else.

An annotator's comment is read by the leads and by themselves. A lead's is a note for the leads, or
an answer to one person. So no annotator reads another's words, and double labels stay blind.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sqlalchemy import Connection, ScalarSelect, delete, func, insert, or_, select

from flames.annotation.database import assignments, comments, items, people
from flames.annotation.events import NewEvent, append_events, event_time
from flames.annotation.people import Person, get_person, lock_person
from flames.annotation.project import Project
from flames.annotation.tasks import clean_text
from flames.errors import UsageError
from flames.text import shorten


class Comment(NamedTuple):
    """What a person said of an item; `to` is whom a lead answered, None for a note to leads."""

    number: int
    item: str
    by: str
    role: str
    to: str | None
    text: str
    at: str
    prompt: str | None = None


def comment(project: Project, by: str, ref: str, text: str, to: str | None = None) -> Comment:
    """Stores a comment on an item.

    Annotators comment on items that they have or had; only a lead's comment has an addressee, who
    must have or have had the item.
    """
    text = clean_text(text)
    if not text:
        raise UsageError("a comment needs text")
    with project.database.write() as connection:
        person = get_person(connection, by)
        addressee = None if to is None else get_person(connection, to)
        _check_roles(person, addressee)
        item = connection.execute(select(items).where(items.c.ref == ref)).one_or_none()
        if item is None or (person.role != "lead" and not _had(connection, person, item.id)):
            raise UsageError(f"{person.name} has and had no item {shorten(ref, 20)!r}")
        if addressee is not None and not _had(connection, addressee, item.id):
            message = f"{addressee.name} has and had no item {shorten(ref, 20)!r}: they may not see"
            raise UsageError(f"{message} it before they label it")
        lock_person(connection, person.id)
        told = None if addressee is None else addressee.id
        event = NewEvent("commented", person.id, item.id, {"text": text, "to": told})
        seq = append_events(connection, [event], project.now())
        at = event_time(connection, seq)
        values = {"seq": seq, "item": item.id, "person": person.id, "addressee": told,
                  "text": text, "at": at}  # fmt: skip
        connection.execute(insert(comments).values(values))
    return Comment(seq, ref, person.name, person.role, addressee and addressee.name, text, at)


def _check_roles(person: Person, addressee: Person | None) -> None:
    if not person.active or person.role == "adjudicator":
        raise UsageError(f"{person.name} may not comment: annotators and leads do")
    if addressee is None:
        return
    if person.role != "lead":
        raise UsageError("an annotator's comment goes to the leads; it has no other addressee")
    if addressee.role != "annotator":
        raise UsageError(f"{addressee.name} reads every comment; answer an annotator")


def _had(connection: Connection, person: Person, item: int) -> bool:
    mine = (assignments.c.person == person.id, assignments.c.item == item)
    query = select(assignments.c.item).where(*mine, assignments.c.state != "waiting")
    return connection.execute(query).first() is not None


def withdraw(project: Project, by: str, number: int) -> None:
    """Takes a comment back: its author may, and a lead anybody's."""
    with project.database.write() as connection:
        person = get_person(connection, by)
        lock_person(connection, person.id)
        row = connection.execute(select(comments).where(comments.c.seq == number)).one_or_none()
        if row is None or (row.person != person.id and person.role != "lead"):
            raise UsageError(f"there is no comment {number} that {person.name} may take back")
        connection.execute(delete(comments).where(comments.c.seq == number))
        event = NewEvent("comment_withdrawn", person.id, row.item, {"seq": number})
        append_events(connection, [event], project.now())


def read_comments(
    project: Project, reader: Person | None = None, ref: str | None = None
) -> list[Comment]:
    """Returns comments in their order: all, or those on one item; what the `reader` may read."""
    addressee = people.alias("addressee")
    query = (
        select(comments, items.c.ref, items.c.response, people.c.name, people.c.role,
               addressee.c.name.label("to"))
        .join(items, items.c.id == comments.c.item)
        .join(people, people.c.id == comments.c.person)
        .join(addressee, addressee.c.id == comments.c.addressee, isouter=True)
        .order_by(comments.c.seq)
    )  # fmt: skip
    if ref is not None:
        query = query.where(items.c.ref == ref)
    if reader is not None and reader.role != "lead":
        query = query.where(_readable(reader.id))
    with project.database.read() as connection:
        rows = connection.execute(query).all()
    return [
        Comment(row.seq, row.ref, row.name, row.role, row.to, row.text, row.at, _prompt(row))
        for row in rows
    ]


def _prompt(row: Any) -> str | None:
    prompt: str | None = json.loads(row.response).get("prompt")
    return prompt


def count_comments(reader: Any) -> ScalarSelect[int]:
    """Counts in SQL the comments that an annotator may read."""
    query = select(func.count()).select_from(comments).where(_readable(reader))
    return query.correlate(people).scalar_subquery()


def _readable(reader: Any) -> Any:
    return or_(comments.c.person == reader, comments.c.addressee == reader)
