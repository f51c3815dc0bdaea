"""Seals: what events say of columns whose content they must not hold, or that would be too long.

The hash of a link or a password, a ticket, the order of a queue: an event carries a SHA-256 over
them, so that `verify` notices a change, and nobody who reads events learns anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from flames.annotation.database import assignments, chain, people
from flames.annotation.events import NewEvent, append_events


def seal(value: str | None) -> str | None:
    """Returns the seal of a column; None stays None."""
    return None if value is None else hashlib.sha256(f"seal {value}".encode()).hexdigest()[:32]


def lease_data(values: Mapping[str, str]) -> dict[str, Any]:
    """Returns what the event of a lease says of its columns."""
    return {
        "since": values["since"], "expires": values["expires"], "ticket": seal(values["ticket"]),
    }  # fmt: skip


def queue_seal(rows: Iterable[Any]) -> str:
    """Returns the seal of a queue: item, kind and position of what its person was given."""
    given = sorted((r.item, r.kind, r.position) for r in rows if r.position is not None)
    return str(seal(json.dumps(given)))


def stored_queue(connection: Connection, person: int) -> str:
    """Returns the seal of a person's queue as it is stored."""
    columns = (assignments.c.item, assignments.c.kind, assignments.c.position)
    return queue_seal(connection.execute(select(*columns).where(assignments.c.person == person)))


def seal_people(connection: Connection, now: str) -> None:
    """Seals the people of a project whose events were written before there were seals."""
    if connection.execute(select(chain)).first() is None:
        return
    new = []
    for row in connection.execute(select(people).order_by(people.c.id)).all():
        data = {"name": row.name, "role": row.role, "active": bool(row.active), "lang": row.lang,
                "changed": "sealed", "link": seal(row.link_hash),
                "password": seal(row.password_hash),
                "queue": stored_queue(connection, row.id)}  # fmt: skip
        data |= {"until": row.link_until} if row.link_until else {}
        data |= {"once": True} if row.link_once else {}
        new.append(NewEvent("person", row.id, None, data))
    append_events(connection, new, now)
