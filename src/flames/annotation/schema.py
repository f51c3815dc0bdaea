"""The tables. `events` is the source of truth; every other changing table is derived from it.

`items` never change after `init`. `assignments`, `adjudications`, `items.taken` and `people` are
written in the same transaction as the events that they follow from; `verify` derives them anew
and compares. `sessions` and `failures` serve signing in and hold nothing worth keeping.

Times are text in UTC with microseconds (`2026-11-22T02:45:21.000000Z`): the same on every
database, and sorted by time when sorted by text.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME = String(27)

settings = Table(
    "settings",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("role", String(12), nullable=False),
    Column("active", Integer, nullable=False),
    Column("lang", String(2)),
    Column("link_hash", String(64), unique=True),
    Column("password_hash", Text),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("person", ForeignKey("people.id"), nullable=False, index=True),
    Column("csrf", String(43), nullable=False),
    Column("expires", TIME, nullable=False),
)

failures = Table(
    "failures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scope", String(64), nullable=False),
    Column("at", TIME, nullable=False),
    Index(None, "scope", "at"),
)

items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ref", String(16), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    Column("dimension", Text, nullable=False),
    Column("subcomponent", Text),
    Column("response", Text, nullable=False),
    Column("gold", Integer),
    Column("explanation", Text),
    Column("stratum", Text),
    Column("stratum_drawn", Integer),
    Column("stratum_size", Integer),
    Column("quota", Integer),
    Column("taken", Integer, nullable=False, default=0),
    CheckConstraint("kind IN ('work', 'control', 'training')", name="kind"),
    CheckConstraint("taken >= 0", name="taken"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("person", ForeignKey("people.id"), primary_key=True),
    Column("item", ForeignKey("items.id"), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("position", Integer),
    Column("state", String(8), nullable=False),
    Column("ticket", String(22), unique=True),
    Column("since", TIME),
    Column("expires", TIME),
    Column("score", Integer),
    Column("rationale", Text),
    Column("seq", Integer),
    CheckConstraint(
        "state IN ('waiting', 'leased', 'offline', 'labelled', 'skipped', 'flagged')",
        name="state",
    ),
    Index(None, "person", "state", "kind", "position"),
    Index(None, "item", "state"),
    Index(None, "state", "expires"),
)

adjudications = Table(
    "adjudications",
    metadata,
    Column("item", ForeignKey("items.id"), primary_key=True),
    Column("person", ForeignKey("people.id"), nullable=False),
    Column("state", String(8), nullable=False),
    Column("ticket", String(22), unique=True),
    Column("since", TIME),
    Column("expires", TIME),
    Column("score", Integer),
    Column("reason", Text),
    Column("seq", Integer),
    CheckConstraint("state IN ('leased', 'settled')", name="state"),
    Index(None, "person", "state"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", TIME, nullable=False),
    Column("kind", String(30), nullable=False),
    Column("person", Integer),
    Column("item", Integer),
    Column("data", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "at"),
)

chain = Table(
    "chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("at", TIME, nullable=False),
    Column("hash", String(64), nullable=False),
)
