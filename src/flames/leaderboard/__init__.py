"""Published results as data, ranks with their uncertainty, audits of tables, entries."""

from flames.leaderboard._table import Cell, read_table
from flames.leaderboard.audit import Audit, Finding, audit
from flames.leaderboard.published import (
    LATEST,
    RELEASES,
    PublishedRow,
    published,
    published_counts,
    published_results,
)
from flames.leaderboard.ranks import Ranked, Ranking, rank_models

__all__ = [
    "LATEST",
    "RELEASES",
    "Audit",
    "Cell",
    "Finding",
    "PublishedRow",
    "Ranked",
    "Ranking",
    "audit",
    "published",
    "published_counts",
    "published_results",
    "rank_models",
    "read_table",
]
