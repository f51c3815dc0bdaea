"""People who are held until the lead decides, and labels that are voided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATES = "state IN ('waiting', 'leased', 'offline', 'labelled', 'skipped', 'flagged', 'voided')"


def upgrade() -> None:
    """Adds the columns, and the new state of an assignment."""
    op.add_column("people", sa.Column("held", sa.String(length=8), nullable=True))
    op.add_column("people", sa.Column("cleared", sa.Integer(), nullable=False, server_default="0"))
    name = op.f("ck_assignments_state")
    if op.get_bind().dialect.name == "sqlite":  # copies the table, without its old checks
        with op.batch_alter_table("assignments", recreate="always") as table:
            table.create_check_constraint(name, STATES)
        return
    op.drop_constraint(name, "assignments", type_="check")
    op.create_check_constraint(name, "assignments", STATES)
