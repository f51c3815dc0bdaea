"""Published results as data, ranks with their uncertainty, audits of tables, entries."""

from flames.leaderboard.audit import Audit, Cell, Finding, audit, read_table
from flames.leaderboard.published import (
    LATEST,
    RELEASES,
    PublishedRow,
    published,
    published_counts,
)

__all__ = [
    "LATEST",
    "RELEASES",
    "Audit",
    "Cell",
    "Finding",
    "PublishedRow",
    "audit",
    "published",
    "published_counts",
    "read_table",
]
