"""The first tables. A migration is frozen in time: it never imports the schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TYPES: dict[str, sa.types.TypeEngine[Any]] = {"int": sa.Integer(), "text": sa.Text()}

# Column: type (a number is the length of a string); `?` may be null.
LEASE = {"state": "8", "ticket": "22?", "since": "27?", "expires": "27?", "score": "int?"}
TABLES = {
    "chain": {"id": "int", "seq": "int", "at": "27", "hash": "64"},
    "events": {
        "seq": "int", "at": "27", "kind": "30", "person": "int?", "item": "int?", "data": "text",
        "hash": "64",
    },
    "failures": {"id": "int", "scope": "64", "at": "27"},
    "items": {
        "id": "int", "ref": "16", "kind": "8", "dimension": "text", "subcomponent": "text?",
        "response": "text", "gold": "int?", "explanation": "text?", "stratum": "text?",
        "stratum_drawn": "int?", "stratum_size": "int?", "quota": "int?", "taken": "int",
    },
    "people": {
        "id": "int", "name": "text", "name_key": "text", "role": "12", "active": "int",
        "lang": "2?", "link_hash": "64?", "password_hash": "text?",
    },
    "settings": {"name": "40", "value": "text"},
    "adjudications": {"item": "int", "person": "int", **LEASE, "reason": "text?", "seq": "int?"},
    "assignments": {
        "person": "int", "item": "int", "kind": "8", "position": "int?", **LEASE,
        "rationale": "text?", "seq": "int?",
    },
    "sessions": {"token_hash": "64", "person": "int", "csrf": "43", "expires": "27"},
}  # fmt: skip
COUNTED_BY_US = {"chain.id", "events.seq"}  # numbers that the database must not invent
PRIMARY = {"events": "seq", "settings": "name", "adjudications": "item", "sessions": "token_hash",
           "assignments": "person item"}  # fmt: skip
UNIQUE = {"items": "ref", "people": "link_hash name_key", "adjudications": "ticket",
          "assignments": "ticket"}  # fmt: skip
REFERENCES = {"adjudications": "item person", "assignments": "item person", "sessions": "person"}
CHECKS = {
    "items": {"kind": "kind IN ('work', 'control', 'training')", "taken": "taken >= 0"},
    "adjudications": {"state": "state IN ('leased', 'settled')"},
    "assignments": {
        "state": "state IN ('waiting', 'leased', 'offline', 'labelled', 'skipped', 'flagged')"
    },
}
INDEXES = [
    "events at", "failures scope at", "adjudications person state", "assignments item state",
    "assignments person state kind position", "assignments state expires", "sessions person",
]  # fmt: skip


def upgrade() -> None:
    """Creates the tables and their indexes."""
    for table, columns in TABLES.items():
        made = [_column(table, name, kind) for name, kind in columns.items()]
        op.create_table(table, *made, *_constraints(table))
    for index in INDEXES:
        table, *names = index.split()
        op.create_index(op.f("_".join(["ix", table, *names])), table, names)


def _column(table: str, name: str, kind: str) -> sa.Column[Any]:
    base = kind.removesuffix("?")
    type_ = TYPES[base] if base in TYPES else sa.String(length=int(base))
    counts = f"{table}.{name}" not in COUNTED_BY_US
    return sa.Column(
        name, type_, nullable=kind.endswith("?"), autoincrement="auto" if counts else False
    )


def _constraints(table: str) -> list[sa.Constraint]:
    keys = PRIMARY.get(table, "id").split()
    return [
        *(
            sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))
            for name, rule in CHECKS.get(table, {}).items()
        ),
        *(
            sa.ForeignKeyConstraint(
                [name], ["people.id" if name == "person" else "items.id"],
                name=op.f(f"fk_{table}_{name}"),
            )
            for name in REFERENCES.get(table, "").split()
        ),
        sa.PrimaryKeyConstraint(*keys, name=op.f(f"pk_{table}")),
        *(
            sa.UniqueConstraint(name, name=op.f(f"uq_{table}_{name}"))
            for name in UNIQUE.get(table, "").split()
        ),
    ]  # fmt: skip
