"""The append-only record of everything that happens in a project.

Events are numbered without gaps in the order in which they were committed, their times never
fall, and each carries a SHA-256 over the one before and its own content: a line that is changed,
taken out or slipped in later breaks the chain. Locks are always taken in the order people, items,
chain; the chain comes last and is held to the commit, so that an export up to a moment or a
number is the same for ever.

    project        what was drawn from where, with checksums and settings
    person         somebody was added, or their name, role or access changed
    leased         an item was given to somebody for a time (`offline`: in a sheet)
    returned       it came back unanswered (`expired`, `released`)
    labelled       a score (with rationale), a skip or a flag; `source` names an imported file
    undone         somebody took their last answer back
    imported       a file of labels was read
    adjudicating, adjudication_returned, adjudicated, adjudication_undone      the same of decisions
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from flames.annotation.schema import chain, events
from flames.errors import InputError

GENESIS = "0" * 64

BEGINNING = "1970-01-01T00:00:00.000000Z"


class NewEvent(NamedTuple):
    """Something that happened, before it has a number."""

    kind: str
    person: int | None = None
    item: int | None = None
    data: Mapping[str, Any] = MappingProxyType({})


class Event(NamedTuple):
    """Something that happened."""

    seq: int
    at: str
    kind: str
    person: int | None
    item: int | None
    data: Mapping[str, Any]
    hash: str


class ChainHead(NamedTuple):
    """The last event: its number, time and hash."""

    seq: int
    at: str
    hash: str


def stamp(moment: datetime) -> str:
    """A moment as it stands in the tables."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """The moment of a stamp."""
    return datetime.fromisoformat(text)


def later(text: str, seconds: float) -> str:
    """The stamp that many seconds later."""
    return stamp(moment(text) + timedelta(seconds=seconds))


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def link(before: str, seq: int, at: str, entry: NewEvent, data: str) -> str:
    """The hash of an event that follows the one with the hash `before`."""
    head = json.dumps([before, seq, at, entry.kind, entry.person, entry.item])
    return hashlib.sha256(f"{head}\n{data}".encode()).hexdigest()


def start(connection: Connection) -> None:
    """Begins an empty chain."""
    connection.execute(insert(chain).values(id=1, seq=0, at=BEGINNING, hash=GENESIS))


def append(connection: Connection, entries: Sequence[NewEvent], at: datetime) -> list[Event]:
    """Writes events. To be called after every other lock of the transaction was taken.

    Args:
        connection: A writing transaction.
        entries: What happened, in order.
        at: The time; never before the last event's, which is used where the clock went back.
    """
    row = connection.execute(select(chain).with_for_update()).one()
    seq, before, when = row.seq, row.hash, max(stamp(at), row.at)
    written: list[Event] = []
    rows: list[dict[str, Any]] = []
    for entry in entries:
        seq += 1
        data = json.dumps(dict(entry.data), sort_keys=True, separators=(",", ":"))
        before = link(before, seq, when, entry, data)
        written.append(Event(seq, when, *entry, before))
        rows.append(
            {"seq": seq, "at": when, "kind": entry.kind, "person": entry.person,
             "item": entry.item, "data": data, "hash": before}
        )  # fmt: skip
    if rows:
        connection.execute(insert(events), rows)
        connection.execute(update(chain).values(seq=seq, at=when, hash=before))
    return written


def head(connection: Connection) -> ChainHead:
    """The last event."""
    row = connection.execute(select(chain)).one()
    return ChainHead(row.seq, row.at, row.hash)


def read(connection: Connection, after: int = 0, upto: int | None = None) -> Iterator[Event]:
    """Yields the events after a number, in order, `upto` the last of them."""
    query = select(events).where(events.c.seq > after).order_by(events.c.seq)
    if upto is not None:
        query = query.where(events.c.seq <= upto)
    for row in connection.execute(query):
        yield Event(row.seq, row.at, row.kind, row.person, row.item, json.loads(row.data), row.hash)


def last_until(connection: Connection, until: str | int | None, at: datetime) -> ChainHead:
    """The last event up to a moment or a number.

    Args:
        connection: A reading transaction.
        until: An event's number, an ISO 8601 time (UTC unless it says otherwise; a day alone
            means its end), or None for the last event of all.
        at: The time now: nothing can be reproduced up to a moment that is still to come.

    Raises:
        InputError: `until` is neither, lies before the first event, or in the future.
    """
    last = head(connection)
    if until is None:
        return last
    text = str(until).strip()
    if text.isdecimal():
        if int(text) > last.seq:
            raise InputError(f"the last event so far is number {last.seq}", field="until")
        condition = events.c.seq <= int(text)
    else:
        upto = _until(text)
        if upto > max(stamp(at), last.at):
            message = f"{text} is not over yet; the last event so far is number {last.seq}"
            raise InputError(message, field="until")
        condition = events.c.at <= upto
    query = select(events).where(condition).order_by(events.c.seq.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise InputError(f"nothing had happened until {text}", field="until")
    return ChainHead(row.seq, row.at, row.hash)


def _until(text: str) -> str:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"takes an event's number or a time like 2026-11-22T14:30, not {text!r}", field="until"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    if len(text) <= len("2026-11-22"):
        when += timedelta(days=1) - timedelta(microseconds=1)
    return stamp(when)
