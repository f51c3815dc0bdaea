"""Personal links that end after a time or after their first use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; the links that there are neither end nor work only once."""
    op.add_column("people", sa.Column("link_until", sa.String(length=27), nullable=True))
    op.add_column(
        "people", sa.Column("link_once", sa.Integer(), nullable=False, server_default="0")
    )
