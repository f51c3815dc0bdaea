"""Personal links, passwords, sessions and tokens: how people sign in.

Personal links hold 256 random bits, of which the database keeps a SHA-256; passwords are stored
as argon2id hashes. Neither ever appears in an event, which only seals the stored hash.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from functools import cache
from typing import Any, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select

from flames.annotation.comments import count_comments
from flames.annotation.database import failures, people, sessions
from flames.annotation.events import NewEvent, append_events, seconds_later
from flames.annotation.options import InviteOptions, LinkOptions
from flames.annotation.people import (
    Person,
    add_person,
    change_person,
    find_person,
    get_person,
    lock_person,
    newest_guideline,
    person_key,
    read_person,
)
from flames.annotation.project import Project
from flames.annotation.seals import seal
from flames.errors import UsageError

SESSION_SECONDS = 14 * 24 * 3600
MIN_PASSWORD = 10
_WINDOW_SECONDS = 15 * 60
_TRIES_PER_NAME = 8
_TRIES_PER_ADDRESS = 100
_HASHER = PasswordHasher()
_FEW_AT_A_TIME = threading.BoundedSemaphore(4)  # a password check takes 64 MiB


class LoginSession(NamedTuple):
    """A signed-in browser; `guideline` is the newest version, `comments` how many they may read."""

    person: Person
    csrf: str
    guideline: int = 0
    comments: int = 0


class TooManyTriesError(UsageError):
    """Signing in failed too often and is blocked for a while."""


def invite(project: Project, name: str, options: InviteOptions) -> str:
    """Adds a person and returns their personal link."""
    with project.database.write() as connection:
        person = add_person(connection, project, name, options.role)
        return project.link(new_link(connection, project, person, options), options.url)


def renew_link(project: Project, name: str, options: LinkOptions) -> str:
    """Returns a new personal link; the old one stops working."""
    with project.database.write() as connection:
        token = new_link(connection, project, get_person(connection, name), options)
        return project.link(token, options.url)


def give_password(project: Project, name: str, password: str) -> Person:
    """Sets the password of the person of that name."""
    with project.database.write() as connection:
        person = get_person(connection, name)
        set_password(connection, project, person, password)
    return person


def new_link(
    connection: Connection, project: Project, person: Person, options: LinkOptions | None = None
) -> str:
    """Returns the token of a new link, which is not stored; old link and sessions end."""
    options, token = options or LinkOptions(), secrets.token_urlsafe(32)
    until = options.days and seconds_later(project.now(), 86_400 * options.days)
    link_hash = _digest(token)
    values = {"link_hash": link_hash, "link_until": until, "link_once": int(options.once)}
    told: dict[str, Any] = {"changed": "link", "link": seal(link_hash)}
    told |= {"until": until} if until else {}
    told |= {"once": True} if options.once else {}
    change_person(connection, project, person, values, told)
    return token


def _end_link(connection: Connection, project: Project, person: Person) -> None:
    values = {"link_hash": None, "link_until": None, "link_once": 0}
    told = {"changed": "link", "link": None}
    change_person(connection, project, person, values, told, sign_out=False)


def set_password(connection: Connection, project: Project, person: Person, password: str) -> None:
    """Sets a password; open sessions end."""
    if not MIN_PASSWORD <= len(password) <= 1000:
        raise UsageError(f"a password has at least {MIN_PASSWORD} characters")
    values = {"password_hash": _HASHER.hash(password)}
    told = {"changed": "password", "password": str(seal(values["password_hash"]))}
    change_person(connection, project, person, values, told)


@cache
def _decoy() -> str:
    return _HASHER.hash(secrets.token_urlsafe(16))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def person_of_link(connection: Connection, project: Project, token: str) -> Person | None:
    """Returns the owner of a personal link; None if it ended or its owner is kept out."""
    theirs = (people.c.link_hash == _digest(token), people.c.active == 1)
    row = connection.execute(select(people).where(*theirs)).one_or_none()
    if row is None or (row.link_until is not None and row.link_until <= project.now()):
        return None
    return read_person(row)


def enter_by_link(project: Project, token: str) -> tuple[Person, str] | None:
    """Signs in by a personal link; one that works once ends, so that nobody else enters by it."""
    with project.database.write() as connection:
        person = person_of_link(connection, project, token)
        if person is None:
            return None
        lock_person(connection, person.id)
        row = connection.execute(select(people).where(people.c.id == person.id)).one()
        if row.link_hash != _digest(token):
            return None  # it was used at the same moment
        if row.link_once:
            _end_link(connection, project, person)
        return person, _sign_in(connection, project, person, "link")


def enter_by_password(
    project: Project, address: str, name: str, password: str
) -> tuple[Person, str] | None:
    """Signs in by password, unless that failed too often (TooManyTriesError)."""
    attempt = admit_try(project, address, name)
    person = check_password(project, name, password)
    if person is None:
        return None
    forgive(project, attempt)
    with project.database.write() as connection:
        return person, _sign_in(connection, project, person, "password")


def enter_by_proxy(project: Project, name: str) -> tuple[Person, str] | None:
    """Signs in whom a trusted proxy names; None if nobody of that name may enter."""
    with project.database.write() as connection:
        person = find_person(connection, name)
        if person is None or not person.active:
            return None
        return person, _sign_in(connection, project, person, "proxy")


def _sign_in(
    connection: Connection, project: Project, person: Person, by: str,
    seconds: float = SESSION_SECONDS,
) -> str:  # fmt: skip
    token = open_session(connection, project, person, seconds)
    append_events(connection, [NewEvent("signed_in", person.id, None, {"by": by})], project.now())
    return token


def check_password(project: Project, name: str, password: str) -> Person | None:
    """Returns the person if the password is theirs. Takes as long for names that do not exist."""
    named = people.c.name_key == person_key(name.strip()[:200])
    may_enter = (people.c.active == 1, people.c.password_hash.is_not(None))
    with project.database.read() as connection:
        row = connection.execute(select(people).where(named, *may_enter)).one_or_none()
    try:
        with _FEW_AT_A_TIME:
            _HASHER.verify(_decoy() if row is None else row.password_hash, password)
    except (VerificationError, InvalidHashError):
        return None
    return None if row is None else read_person(row)


def admit_try(project: Project, address: str, name: str) -> list[int]:
    """Counts an attempt to sign in by password, before it is checked; returns rows for `forgive`.

    Each attempt is stored first and counted then, so that none made at the same moment escapes.
    Raises TooManyTriesError after too many recent attempts. Personal links need no such limit:
    nobody guesses 256 bits, and others at the same address must not lock their owners out.
    """
    limits = {
        _digest(f"address {address}"): _TRIES_PER_ADDRESS,
        _digest(f"name {person_key(name.strip()[:200])}"): _TRIES_PER_NAME,
    }
    now = project.now()
    with project.database.write() as connection:
        begin, end = (seconds_later(now, span) for span in (-_WINDOW_SECONDS, _WINDOW_SECONDS))
        connection.execute(delete(failures).where(~failures.c.at.between(begin, end)))
        query = insert(failures).returning(failures.c.id)
        rows = list(connection.scalars(query, [{"scope": s, "at": now} for s in limits]))
    with project.database.read() as connection:
        counted = connection.execute(
            select(failures.c.scope, func.count())
            .where(failures.c.scope.in_(limits))
            .group_by(failures.c.scope)
        )
        closed = any(count > limits[scope] for scope, count in counted)
    if closed:
        forgive(project, rows)
        raise TooManyTriesError("too many attempts to sign in; try again in a quarter of an hour")
    return rows


def forgive(project: Project, rows: list[int]) -> None:
    """Takes an attempt off the count."""
    with project.database.write() as connection:
        connection.execute(delete(failures).where(failures.c.id.in_(rows)))


def give_token(project: Project, name: str, days: float) -> str:
    """Returns a token by which a program acts as a person; it ends as their sessions do."""
    with project.database.write() as connection:
        person = get_person(connection, name)
        if not person.active:
            raise UsageError(f"{person.name} is kept out; let them in first")
        return _sign_in(connection, project, person, "token", 86_400 * days)


def open_session(
    connection: Connection, project: Project, person: Person, seconds: float = SESSION_SECONDS
) -> str:
    """Signs a browser in and returns a new secret for its cookie."""
    token, now = secrets.token_urlsafe(32), project.now()
    values = {"token_hash": _digest(token), "person": person.id, "csrf": secrets.token_urlsafe(32),
              "expires": seconds_later(now, seconds)}  # fmt: skip
    connection.execute(delete(sessions).where(sessions.c.expires < now))
    connection.execute(insert(sessions).values(values))
    return token


def find_session(connection: Connection, project: Project, token: str) -> LoginSession | None:
    """Returns the session of a cookie; None if it is unknown, expired, or its owner is kept out."""
    row = connection.execute(_session(), {"token": _digest(token)}).one_or_none()
    if row is None or not row.active or row.expires <= project.now():
        return None
    return LoginSession(read_person(row), row.csrf, row.newest, row.comments)


@cache
def _session() -> Select[Any]:
    columns = (
        people, sessions.c.csrf, sessions.c.expires, newest_guideline().label("newest"),
        count_comments(people.c.id).label("comments"),
    )  # fmt: skip
    mine = sessions.c.token_hash == bindparam("token")
    return select(*columns).join(sessions, sessions.c.person == people.c.id).where(mine)


def close_session(connection: Connection, token: str) -> None:
    """Signs a browser out."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == _digest(token)))
