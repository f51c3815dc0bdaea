"""Annotators, adjudicators and leads: who takes part, and with which queue."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    Connection,
    Row,
    ScalarSelect,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from flames.annotation.database import assignments, batches, guidelines, items, people, sessions
from flames.annotation.events import NewEvent, append_events
from flames.annotation.options import ROLES, Role
from flames.annotation.project import Project
from flames.annotation.seals import stored_queue
from flames.errors import InputError, UsageError
from flames.options import check_choice
from flames.taxonomy import Language
from flames.text import for_terminal, has_visible_text, shorten


class Person(NamedTuple):
    """A participant.

    `held` names the pass mark that they missed, `quota` how many labels they are to give at most,
    `guideline` the version that they read last.
    """

    id: int
    name: str
    role: Role
    active: bool
    lang: Language | None
    has_link: bool
    has_password: bool
    held: str | None = None
    quota: int | None = None
    guideline: int = 0


def add_person(
    connection: Connection, project: Project, name: str, role: str, *, active: bool = True
) -> Person:
    """Adds a person, with a queue of their own if they annotate."""
    name = checked_name(name)
    check_choice("--role", role, ROLES)
    values = {"name": name, "name_key": person_key(name), "role": role, "active": int(active)}
    try:
        row = connection.execute(insert(people).values(values).returning(people)).one()
    except IntegrityError:
        message = f"there is already a {shorten(name)!r}; choose another name"
        raise UsageError(message) from None
    person = read_person(row)
    given = fill_queue(connection, project, person) if active else {}
    _append_event(connection, project, person, given)
    return person


def admit(project: Project, name: str, active: bool) -> Person:
    """Lets a person in again, or keeps them out; their labels stay, open leases run out."""
    with project.database.write() as connection:
        person = get_person(connection, name)._replace(active=active)
        lock_person(connection, person.id)
        given = fill_queue(connection, project, person) if active else {}
        values = {"active": int(active)}
        change_person(connection, project, person, values, given, sign_out=not active)
    return person


def list_people(project: Project) -> list[Person]:
    """Returns all people, in the order in which they were added."""
    with project.database.read() as connection:
        rows = connection.execute(select(people).order_by(people.c.id))
        return [read_person(row) for row in rows]


def checked_name(name: str) -> str:
    """Normalises a person's name."""
    plain = unicodedata.normalize("NFC", name).strip()
    if not has_visible_text(plain) or len(plain) > 80 or for_terminal(plain) != plain:
        raise UsageError(f"a name has 1 to 80 visible characters, not {shorten(name)!r}")
    return plain


def person_key(name: str) -> str:
    """Returns the form in which names are compared."""
    return unicodedata.normalize("NFKC", name).casefold()


def fill_queue(connection: Connection, project: Project, person: Person) -> dict[str, str]:
    """Gives an annotator the items that they do not have, at the end of their queue.

    Returns what the event says of it.
    """
    if person.role != "annotator":
        return {}
    have = select(assignments.c.item).where(assignments.c.person == person.id)
    rows = connection.execute(
        select(items.c.id, items.c.kind).where(items.c.id.not_in(have)).order_by(items.c.id)
    ).all()
    order = np.random.default_rng([project.settings.seed, person.id]).permutation(len(rows))
    mine = select(func.max(assignments.c.position)).where(assignments.c.person == person.id)
    last = connection.execute(mine).scalar_one()
    start = 0 if last is None else last + 1
    waiting = {"person": person.id, "state": "waiting"}
    new = [
        {**waiting, "item": row.id, "kind": row.kind, "position": start + int(position)}
        for row, position in zip(rows, order, strict=True)
    ]
    if new:
        connection.execute(insert(assignments), new)
    return {"queue": stored_queue(connection, person.id)}


def read_person(row: Any) -> Person:
    """Reads a person from their row."""
    return Person(
        row.id, row.name, row.role, bool(row.active), row.lang,
        row.link_hash is not None, row.password_hash is not None, row.held,
        row.quota, row.guideline,
    )  # fmt: skip


def find_person(connection: Connection, name: str) -> Person | None:
    """Returns the person of that name, ignoring case, or None."""
    row = connection.execute(select(people).where(people.c.name_key == person_key(name.strip())))
    found = row.one_or_none()
    return None if found is None else read_person(found)


def get_person(connection: Connection, name: str) -> Person:
    """Returns the person of that name, ignoring case."""
    found = find_person(connection, name)
    if found is None:
        names = connection.scalars(select(people.c.name).order_by(people.c.id))
        known = ", ".join(names) or "nobody"
        raise InputError(f"there is no {shorten(name)!r} in this project; there are: {known}")
    return found


def lock_person(connection: Connection, person: int) -> Row[Any]:
    """Allows one transaction per person at a time: two tabs cannot get two items."""
    return connection.execute(_locked_person(), {"person": person}).one()


def newest_guideline() -> ScalarSelect[int]:
    """Selects the version of the present guideline; 0 if there is none."""
    return select(func.coalesce(func.max(guidelines.c.version), 0)).scalar_subquery()


@cache
def _locked_person() -> Select[Any]:
    batched = exists().where(batches.c.person == people.c.id).label("batched")
    columns = (people.c.id, people.c.held, people.c.cleared, people.c.quota, batched,
               newest_guideline().label("newest"))  # fmt: skip
    query: Select[Any] = select(*columns).where(people.c.id == bindparam("person"))
    return query.with_for_update(key_share=True)


def is_held(connection: Connection, person: int) -> bool:
    """Tells whether a person gets no more items until a lead decides."""
    query = select(people.c.held).where(people.c.id == person)
    return connection.execute(query).scalar_one() is not None


def set_quota(project: Project, name: str, quota: int | None, lead: str | None = None) -> Person:
    """Limits how many labels a person is to give; None takes the limit away."""
    if quota is not None and not 0 <= quota < 10**9:
        raise UsageError(f"a quota is a number of labels from 0 on, not {quota}")
    with project.database.write() as connection:
        by, person = get_lead(connection, lead), get_person(connection, name)
        if person.role != "annotator":
            raise UsageError(f"{person.name} does not label; a quota is for annotators")
        lock_person(connection, person.id)
        told = {"changed": "quota", "quota": quota, "by": by.id}
        change_person(connection, project, person, {"quota": quota}, told, sign_out=False)
    return person._replace(quota=quota)


def get_lead(connection: Connection, name: str | None) -> Person:
    """Returns the lead of that name; without a name, the only one that there is."""
    if name is not None:
        found = get_person(connection, name)
        if found.role != "lead" or not found.active:
            raise UsageError(f"{found.name} is not a lead here, who alone may decide this")
        return found
    leads = (people.c.role == "lead", people.c.active == 1)
    names = list(connection.scalars(select(people.c.name).where(*leads).order_by(people.c.id)))
    if len(names) != 1:
        raise UsageError(f"say which lead decides with --as: {', '.join(names) or 'there is none'}")
    return get_person(connection, names[0])


def set_language(connection: Connection, project: Project, person: Person, lang: Language) -> None:
    """Stores the language in which a person sees the pages."""
    told: dict[str, str] = {"changed": "lang", "lang": lang}
    change_person(connection, project, person, {"lang": lang}, told, sign_out=False)


def change_person(
    connection: Connection,
    project: Project,
    person: Person,
    values: dict[str, Any],
    told: dict[str, Any],
    *,
    sign_out: bool = True,
) -> None:
    """Changes a person; the event says what is `told` beside who they are."""
    connection.execute(update(people).where(people.c.id == person.id).values(values))
    if sign_out:
        connection.execute(delete(sessions).where(sessions.c.person == person.id))
    _append_event(connection, project, person, told)


def _append_event(
    connection: Connection, project: Project, person: Person, told: dict[str, Any]
) -> None:
    data = {"name": person.name, "role": person.role, "active": person.active, **told}
    append_events(connection, [NewEvent("person", person.id, None, data)], project.now())
