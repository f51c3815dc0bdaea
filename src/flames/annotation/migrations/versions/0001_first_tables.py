"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes them."""
    op.create_table(
        "chain",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("person", sa.Integer(), nullable=True),
        sa.Column("item", sa.Integer(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_at"), "events", ["at"], unique=False)
    op.create_table(
        "failures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failures")),
    )
    op.create_index(op.f("ix_failures_scope_at"), "failures", ["scope", "at"], unique=False)
    op.create_table(
        "items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ref", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("subcomponent", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("gold", sa.Integer(), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=True),
        sa.Column("stratum", sa.Text(), nullable=True),
        sa.Column("stratum_drawn", sa.Integer(), nullable=True),
        sa.Column("stratum_size", sa.Integer(), nullable=True),
        sa.Column("quota", sa.Integer(), nullable=True),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('work', 'control', 'training')", name=op.f("ck_items_kind")),
        sa.CheckConstraint("taken >= 0", name=op.f("ck_items_taken")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sa.UniqueConstraint("ref", name=op.f("uq_items_ref")),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("lang", sa.String(length=2), nullable=True),
        sa.Column("link_hash", sa.String(length=64), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("link_hash", name=op.f("uq_people_link_hash")),
        sa.UniqueConstraint("name_key", name=op.f("uq_people_name_key")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "adjudications",
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("person", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("ticket", sa.String(length=22), nullable=True),
        sa.Column("since", sa.String(length=27), nullable=True),
        sa.Column("expires", sa.String(length=27), nullable=True),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('leased', 'settled')", name=op.f("ck_adjudications_state")),
        sa.ForeignKeyConstraint(["item"], ["items.id"], name=op.f("fk_adjudications_item")),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_adjudications_person")),
        sa.PrimaryKeyConstraint("item", name=op.f("pk_adjudications")),
        sa.UniqueConstraint("ticket", name=op.f("uq_adjudications_ticket")),
    )
    op.create_index(
        op.f("ix_adjudications_person_state"), "adjudications", ["person", "state"], unique=False
    )
    op.create_table(
        "assignments",
        sa.Column("person", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("ticket", sa.String(length=22), nullable=True),
        sa.Column("since", sa.String(length=27), nullable=True),
        sa.Column("expires", sa.String(length=27), nullable=True),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("rationale", sa.Text(), nullable=True),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'leased', 'offline', 'labelled', 'skipped', 'flagged')",
            name=op.f("ck_assignments_state"),
        ),
        sa.ForeignKeyConstraint(["item"], ["items.id"], name=op.f("fk_assignments_item")),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_assignments_person")),
        sa.PrimaryKeyConstraint("person", "item", name=op.f("pk_assignments")),
        sa.UniqueConstraint("ticket", name=op.f("uq_assignments_ticket")),
    )
    op.create_index(
        op.f("ix_assignments_item_state"), "assignments", ["item", "state"], unique=False
    )
    op.create_index(
        op.f("ix_assignments_person_state_kind_position"),
        "assignments",
        ["person", "state", "kind", "position"],
        unique=False,
    )
    op.create_index(
        op.f("ix_assignments_state_expires"), "assignments", ["state", "expires"], unique=False
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.Integer(), nullable=False),
        sa.Column("csrf", sa.String(length=43), nullable=False),
        sa.Column("expires", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_sessions_person")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_person"), "sessions", ["person"], unique=False)
