"""What leads decide on the way: guidelines, quotas, batches, comments, suggestions, more items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.String(length=27)


def upgrade() -> None:
    """Adds the columns and tables; nothing of it was decided so far."""
    op.add_column("people", sa.Column("quota", sa.Integer(), nullable=True))
    op.add_column(
        "people", sa.Column("guideline", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("items", sa.Column("probability", sa.Double(), nullable=True))
    op.add_column("items", sa.Column("added", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("items", sa.Column("batch", sa.Text(), nullable=True))
    op.add_column("items", sa.Column("suggestion", sa.Integer(), nullable=True))
    op.create_table(
        "guidelines",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("person", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_guidelines_person")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_guidelines")),
    )
    op.create_table(
        "batches",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("person", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_batches_person")),
        sa.PrimaryKeyConstraint("name", "person", name=op.f("pk_batches")),
    )
    op.create_table(
        "comments",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("person", sa.Integer(), nullable=False),
        sa.Column("addressee", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["item"], ["items.id"], name=op.f("fk_comments_item")),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_comments_person")),
        sa.ForeignKeyConstraint(["addressee"], ["people.id"], name=op.f("fk_comments_addressee")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_comments")),
    )
    op.create_index(op.f("ix_comments_item"), "comments", ["item"])
