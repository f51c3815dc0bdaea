"""Who takes part: annotators, adjudicators and leads, and how they get in.

Links hold 256 random bits, of which the database keeps a SHA-256; passwords are kept as argon2id.
Neither ever stands in an event.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import unicodedata
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from flames.annotation import events as _events
from flames.annotation.events import NewEvent
from flames.annotation.options import ROLES, InviteOptions, Role
from flames.annotation.project import Project
from flames.annotation.schema import assignments, failures, items, people, sessions
from flames.errors import InputError, UsageError
from flames.options import check_choice
from flames.taxonomy import Language
from flames.text import for_terminal, has_visible_text, shorten

SESSION_SECONDS = 14 * 24 * 3600
MIN_PASSWORD = 10
_WINDOW_SECONDS = 15 * 60
_TRIES_PER_NAME = 8
_TRIES_PER_ADDRESS = 100


class Person(NamedTuple):
    """Somebody who takes part."""

    id: int
    name: str
    role: Role
    active: bool
    lang: Language | None
    has_link: bool
    has_password: bool


class LoginSession(NamedTuple):
    """A signed-in browser."""

    person: Person
    csrf: str


class TooManyTriesError(UsageError):
    """Signing in failed too often; it is closed for a while."""


def add_person(
    connection: Connection, project: Project, name: str, role: Role, *, active: bool = True
) -> Person:
    """Adds somebody, with a queue of their own if they annotate.

    Raises:
        UsageError: The name is empty, too long or taken, or there is no such role.
    """
    name = checked_name(name)
    check_choice("--role", role, ROLES)
    if find_person(connection, name) is not None:
        raise UsageError(f"there is a {shorten(name)!r} already")
    values = {"name": name, "name_key": person_key(name), "role": role, "active": int(active)}
    try:
        added = connection.execute(insert(people).values(values).returning(people.c.id))
        person = Person(added.scalar_one(), name, role, active, None, False, False)
    except IntegrityError:
        raise UsageError(f"there is a {shorten(name)!r} already") from None
    if active and role == "annotator":
        _fill_queue(connection, project, person.id)
    data = {"name": name, "role": role, "active": active}
    _events.append(connection, [NewEvent("person", person.id, None, data)], project.clock())
    return person


def invite(project: Project, name: str, options: InviteOptions) -> str:
    """Adds somebody and returns their personal link."""
    with project.database.write() as connection:
        person = add_person(connection, project, name, options.role)
        return project.link(new_link(connection, project, person), options.url)


def renew_link(project: Project, name: str, url: str | None = None) -> str:
    """Returns a new personal link for somebody; the old one stops working."""
    with project.database.write() as connection:
        token = new_link(connection, project, get_person(connection, name))
        return project.link(token, url)


def give_password(project: Project, name: str, password: str) -> Person:
    """Sets the password of the person of that name."""
    with project.database.write() as connection:
        person = get_person(connection, name)
        set_password(connection, project, person, password)
    return person


def admit(project: Project, name: str, active: bool) -> Person:
    """Lets the person of that name in again, or keeps them out."""
    with project.database.write() as connection:
        person = get_person(connection, name)
        set_active(connection, project, person, active)
    return person


def list_people(project: Project) -> list[Person]:
    """Lists everybody who takes part, in the order in which they were added."""
    with project.database.read() as connection:
        return all_people(connection)


def checked_name(name: str) -> str:
    """A person's name in its normal form.

    Raises:
        UsageError: It is empty, too long, or holds line breaks or marks that hide or reorder text.
    """
    plain = unicodedata.normalize("NFC", name).strip()
    if not has_visible_text(plain) or len(plain) > 80 or for_terminal(plain) != plain:
        raise UsageError(f"a name has 1 to 80 visible characters, not {shorten(name)!r}")
    return plain


def person_key(name: str) -> str:
    """The form under which names are compared."""
    return unicodedata.normalize("NFKC", name).casefold()


def _fill_queue(connection: Connection, project: Project, person: int) -> None:
    """Puts every item that the person does not have yet into an order of their own."""
    rows = connection.execute(
        select(items.c.id, items.c.kind)
        .where(items.c.id.not_in(select(assignments.c.item).where(assignments.c.person == person)))
        .order_by(items.c.id)
    ).all()
    if not rows:
        return
    order = np.random.default_rng([project.settings.seed, person]).permutation(len(rows))
    connection.execute(
        insert(assignments),
        [
            {"person": person, "item": row.id, "kind": row.kind, "position": int(position),
             "state": "waiting"}
            for row, position in zip(rows, order, strict=True)
        ],
    )  # fmt: skip


def _person(row: Any) -> Person:
    return Person(
        row.id, row.name, row.role, bool(row.active), row.lang,
        row.link_hash is not None, row.password_hash is not None,
    )  # fmt: skip


def find_person(connection: Connection, name: str) -> Person | None:
    """The person of that name; upper and lower case are the same."""
    row = connection.execute(select(people).where(people.c.name_key == person_key(name.strip())))
    found = row.one_or_none()
    return None if found is None else _person(found)


def get_person(connection: Connection, name: str) -> Person:
    """The person of that name.

    Raises:
        InputError: There is none.
    """
    found = find_person(connection, name)
    if found is None:
        known = ", ".join(person.name for person in all_people(connection)) or "nobody"
        raise InputError(f"there is no {shorten(name)!r} in this project; there are: {known}")
    return found


def all_people(connection: Connection) -> list[Person]:
    """Everybody, in the order in which they were added."""
    return [_person(row) for row in connection.execute(select(people).order_by(people.c.id))]


def set_active(connection: Connection, project: Project, person: Person, active: bool) -> None:
    """Lets somebody in or keeps them out; their labels stay, open leases run out."""
    connection.execute(
        select(people.c.id).where(people.c.id == person.id).with_for_update(key_share=True)
    )
    connection.execute(update(people).where(people.c.id == person.id).values(active=int(active)))
    if not active:
        connection.execute(delete(sessions).where(sessions.c.person == person.id))
    elif person.role == "annotator":
        _fill_queue(connection, project, person.id)
    data = {"name": person.name, "role": person.role, "active": active}
    _events.append(connection, [NewEvent("person", person.id, None, data)], project.clock())


def set_language(connection: Connection, person: int, lang: Language) -> None:
    """The language in which somebody sees the pages."""
    connection.execute(update(people).where(people.c.id == person).values(lang=lang))


def new_link(connection: Connection, project: Project, person: Person) -> str:
    """A fresh personal link's token; the one before stops working, and so do open sessions."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        update(people).where(people.c.id == person.id).values(link_hash=_digest(token))
    )
    connection.execute(delete(sessions).where(sessions.c.person == person.id))
    _access_changed(connection, project, person, "link")
    return token


def set_password(connection: Connection, project: Project, person: Person, password: str) -> None:
    """Sets a password; open sessions end.

    Raises:
        UsageError: It is too short, or longer than anybody types.
    """
    if not MIN_PASSWORD <= len(password) <= 1000:
        raise UsageError(f"a password has at least {MIN_PASSWORD} characters")
    hashed = _hasher().hash(password)
    connection.execute(update(people).where(people.c.id == person.id).values(password_hash=hashed))
    connection.execute(delete(sessions).where(sessions.c.person == person.id))
    _access_changed(connection, project, person, "password")


def _access_changed(connection: Connection, project: Project, person: Person, what: str) -> None:
    data = {"name": person.name, "role": person.role, "active": person.active, "changed": what}
    _events.append(connection, [NewEvent("person", person.id, None, data)], project.clock())


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _few_at_a_time() -> threading.BoundedSemaphore:
    """Checking a password takes 64 MiB; a flood of them must not take all there is."""
    return threading.BoundedSemaphore(4)


@cache
def _decoy() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def person_of_link(connection: Connection, token: str) -> Person | None:
    """Whose personal link that is; nobody's if it was replaced or its owner is kept out."""
    digest = _digest(token)
    row = connection.execute(select(people).where(people.c.link_hash == digest)).one_or_none()
    if row is None or not row.active or not hmac.compare_digest(row.link_hash, digest):
        return None
    return _person(row)


def check_password(project: Project, name: str, password: str) -> Person | None:
    """Who that is, if the password is theirs. Takes as long for names that nobody has."""
    with project.database.read() as connection:
        query = select(people).where(people.c.name_key == person_key(name.strip()[:200]))
        row = connection.execute(query).one_or_none()
    known = row is not None and row.active and row.password_hash is not None
    try:
        with _few_at_a_time():
            _hasher().verify(row.password_hash if known and row is not None else _decoy(), password)
    except (VerificationError, InvalidHashError):
        return None
    return _person(row) if known else None


def admit_try(project: Project, address: str, name: str | None = None) -> list[int]:
    """Notes an attempt to sign in, before it is looked at; `forgive` takes it off again.

    Each attempt is noted first and counted then, so that none of those made at the same moment
    slips through.

    Args:
        project: The project.
        address: Where it comes from.
        name: Whose password is tried; None for a personal link.

    Returns:
        What to give to `forgive` after a success.

    Raises:
        TooManyTriesError: There were too many for that name or from that address of late.
    """
    limits = {_digest(f"address {address}"): _TRIES_PER_ADDRESS}
    if name is not None:
        limits[_digest(f"name {person_key(name.strip()[:200])}")] = _TRIES_PER_NAME
    now = _events.stamp(project.clock())
    with project.database.write() as connection:
        begin, end = (_events.later(now, span) for span in (-_WINDOW_SECONDS, _WINDOW_SECONDS))
        connection.execute(delete(failures).where(~failures.c.at.between(begin, end)))
        query = insert(failures).returning(failures.c.id)
        noted = list(connection.scalars(query, [{"scope": s, "at": now} for s in limits]))
    with project.database.read() as connection:
        counted = connection.execute(
            select(failures.c.scope, func.count())
            .where(failures.c.scope.in_(limits))
            .group_by(failures.c.scope)
        )
        closed = any(row[1] > limits[row[0]] for row in counted)
    if closed:
        forgive(project, noted)
        raise TooManyTriesError("too many attempts to sign in; try again in a quarter of an hour")
    return noted


def forgive(project: Project, noted: list[int]) -> None:
    """Takes an attempt off the count."""
    with project.database.write() as connection:
        connection.execute(delete(failures).where(failures.c.id.in_(noted)))


def open_session(connection: Connection, project: Project, person: Person) -> str:
    """Signs a browser in; returns the secret for its cookie. Always a fresh one."""
    token = secrets.token_urlsafe(32)
    now = _events.stamp(project.clock())
    connection.execute(delete(sessions).where(sessions.c.expires < now))
    connection.execute(
        insert(sessions).values(
            token_hash=_digest(token),
            person=person.id,
            csrf=secrets.token_urlsafe(32),
            expires=_events.later(now, SESSION_SECONDS),
        )
    )
    return token


def find_session(connection: Connection, project: Project, token: str) -> LoginSession | None:
    """The session of a cookie, if it is one of ours, not over, and its owner may come in."""
    row = connection.execute(
        select(people, sessions.c.csrf, sessions.c.expires)
        .join(sessions, sessions.c.person == people.c.id)
        .where(sessions.c.token_hash == _digest(token))
    ).one_or_none()
    if row is None or not row.active or row.expires <= _events.stamp(project.clock()):
        return None
    return LoginSession(_person(row), row.csrf)


def close_session(connection: Connection, token: str) -> None:
    """Signs a browser out."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == _digest(token)))
