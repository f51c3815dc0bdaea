"""The append-only log of everything that happens in a project.

Events are numbered without gaps in the order of their commits, their times never decrease, and
each carries a SHA-256 over the previous hash and its own content. Locks are always taken in the
order people, items, chain. The chain lock comes last and is held until the commit, so an export up
to an event or a time never changes.

    project        what was drawn from which files, with checksums and settings
    person         a person was added, or their name, role or access changed
    signed_in      a person signed in (`by` link, password or proxy), or got a token
    leased         an item was assigned to a person for a time (`offline`: in a sheet)
    returned       it came back unanswered (`expired`, `released`)
    labelled       a score (with rationale), a skip or a flag; `source` names an imported file
    undone         a person took back their last answer
    imported       a file of labels was read
    voided         a lead took a person's answer out; its item goes to others
    restored       a lead brought it back
    held           a person missed a pass mark and gets no more items
    released       a lead lets them go on
    guideline      a lead published a version of the guideline; `read_guideline`: a person read it
    rules          a lead changed what flags need; `suggested`: which scorer's scores are shown
    batch          a lead gave items to some people, or to everybody again
    added          items were added later, at the end of the queues
    commented      a person wrote about an item; `comment_withdrawn`: took that back
    adjudicating, adjudication_returned, adjudicated, adjudication_undone   the same for decisions
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from flames.annotation.database import chain, events
from flames.errors import InputError

GENESIS = "0" * 64


class NewEvent(NamedTuple):
    """An event that has no number yet."""

    kind: str
    person: int | None = None
    item: int | None = None
    data: Mapping[str, Any] = MappingProxyType({})


class Event(NamedTuple):
    """An event of the log."""

    seq: int
    at: str
    kind: str
    person: int | None
    item: int | None
    data: Mapping[str, Any]
    hash: str


class ChainHead(NamedTuple):
    """Number, time and hash of the last event."""

    seq: int
    at: str
    hash: str


def timestamp(moment: datetime) -> str:
    """Formats a time as it is stored: UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_later(at: str, seconds: float) -> str:
    """Adds seconds to a timestamp."""
    return timestamp(datetime.fromisoformat(at) + timedelta(seconds=seconds))


def seconds_between(start: str, end: str) -> float:
    """Returns the seconds between two timestamps, rounded to milliseconds, never negative."""
    spent = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return round(max(spent.total_seconds(), 0.0), 3)


def utc_now() -> datetime:
    """Returns the current time."""
    return datetime.now(UTC)


def event_hash(previous: str, seq: int, at: str, event: NewEvent, data: str) -> str:
    """Returns the hash of an event that follows the one with the hash `previous`."""
    head = json.dumps([previous, seq, at, event.kind, event.person, event.item])
    return hashlib.sha256(f"{head}\n{data}".encode()).hexdigest()


def start_chain(connection: Connection) -> None:
    """Starts an empty chain."""
    first = "1970-01-01T00:00:00.000000Z"
    connection.execute(insert(chain).values(id=1, seq=0, at=first, hash=GENESIS))


_LOCKED_HEAD = select(chain).with_for_update()
_INSERT, _MOVE_HEAD = insert(events), update(chain)


def append_events(connection: Connection, new: Sequence[NewEvent], at: str) -> int:
    """Writes events, after every other lock of the transaction; returns the number of the first."""
    last = connection.execute(_LOCKED_HEAD).one()
    seq, previous, at = last.seq, last.hash, max(at, last.at)  # should the clock have gone back
    rows: list[dict[str, Any]] = []
    for event in new:
        seq += 1
        data = json.dumps(dict(event.data), sort_keys=True, separators=(",", ":"))
        previous = event_hash(previous, seq, at, event, data)
        rows.append(event._asdict() | {"seq": seq, "at": at, "data": data, "hash": previous})
    if rows:
        connection.execute(_INSERT, rows)
        connection.execute(_MOVE_HEAD, {"seq": seq, "at": at, "hash": previous})
    return int(last.seq) + 1


def event_time(connection: Connection, seq: int) -> str:
    """Returns the time of an event, which is not before the one of the event before it."""
    return str(connection.execute(select(events.c.at).where(events.c.seq == seq)).scalar_one())


def last_event(connection: Connection) -> ChainHead:
    """Returns the head of the chain."""
    row = connection.execute(select(chain)).one()
    return ChainHead(row.seq, row.at, row.hash)


def read_events(connection: Connection, after: int = 0, upto: int | None = None) -> Iterator[Event]:
    """Yields the events after a number, in order, up to and including `upto`."""
    query = select(events).where(events.c.seq > after).order_by(events.c.seq)
    if upto is not None:
        query = query.where(events.c.seq <= upto)
    for row in connection.execute(query):
        yield Event(row.seq, row.at, row.kind, row.person, row.item, json.loads(row.data), row.hash)


def last_event_until(connection: Connection, until: str | int | None, now: str) -> ChainHead:
    """Returns the last event up to a number or an ISO 8601 time; of all if `until` is None.

    A date means the end of that day in UTC. A time in the future could still get events.
    """
    last = last_event(connection)
    if until is None:
        return last
    text = str(until).strip()
    if text.isdecimal():
        if int(text) > last.seq:
            raise InputError(f"the last event so far is number {last.seq}", field="until")
        condition = events.c.seq <= int(text)
    else:
        end = _end_of(text)
        if end > max(now, last.at):
            message = f"{text} is not over yet; the last event so far is number {last.seq}"
            raise InputError(message, field="until")
        condition = events.c.at <= end
    query = select(events).where(condition).order_by(events.c.seq.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise InputError(f"there was no event until {text}", field="until")
    return ChainHead(row.seq, row.at, row.hash)


def in_span(seq: int, at: str, since: str | None, until: str | None) -> bool:
    """Tells whether an event (number and time) lies between two numbers or times, both included."""

    def bound(text: str, *, end: bool) -> bool:
        if text.isdecimal():
            return seq <= int(text) if end else seq >= int(text)
        return at <= _end_of(text) if end else at >= _start_of(text)

    after = since is None or bound(since.strip(), end=False)
    return after and (until is None or bound(until.strip(), end=True))


def _end_of(text: str) -> str:
    when = _moment(text, "until")
    if len(text) <= len("2026-11-22"):
        when += timedelta(days=1) - timedelta(microseconds=1)
    return timestamp(when)


def _start_of(text: str) -> str:
    return timestamp(_moment(text, "since"))


def _moment(text: str, field: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        message = f"takes an event number or a time like 2026-11-22T14:30, not {text!r}"
        raise InputError(message, field=field) from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when
