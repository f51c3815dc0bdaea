"""Failures by reason: what was said, without the numbers and ids that are different each time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from flames.metrics.columns import NO_SCORE, Columns
from flames.metrics.source import Source
from flames.text import shorten

MOST_REASONS = 10
"""So many reasons a result keeps, the most frequent ones."""

_WIDTH = 400
_VARYING = re.compile(
    r"(?P<kept>\bHTTP \d{3}\b)"
    r"|(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z_-])[A-Za-z0-9_-]{8,}(?![\w-])"  # an id
    r"|\d+(?:[.,:]\d+)*"
)


def fold(words: str) -> str:
    """Returns words on one safe line, with `…` for every id and number but the HTTP status."""
    return _VARYING.sub(lambda found: found["kept"] or "…", shorten(words, _WIDTH))


def count_alike(said: Iterable[str]) -> dict[str, int]:
    """Counts words that are the same but for ids and numbers, the most frequent first.

    Where they are the same in every letter, they stand as they are, else folded.
    """
    shown: dict[str, str] = {}
    counts: dict[str, int] = {}
    for words in said:
        alike, own = fold(words), shorten(words, _WIDTH)
        shown[alike] = own if shown.get(alike, own) == own else alike
        counts[alike] = counts.get(alike, 0) + 1
    ordered = sorted(counts, key=lambda alike: -counts[alike])
    return {shown[alike]: counts[alike] for alike in ordered}


def errors_of(source: Source) -> dict[str, int]:
    """Counts by reason why responses, or the answers of their scorer, ended in an error."""
    found = count_alike(_errors(source))
    return dict(list(found.items())[:MOST_REASONS])


def _errors(source: Source) -> Iterator[str]:
    columns = Columns.of(source.verdicts)
    reasons = [text for text in columns.texts("unscored") if (text or "").endswith("error")]
    failed = columns.rows_with("status", ["error"]) | columns.rows_with("unscored", reasons)
    for row in np.flatnonzero(failed & (columns.score_column() == NO_SCORE)).tolist():
        verdict = source.verdicts[row]
        words: object = None
        if verdict.status == "error":
            response = source.responses.get(verdict.key)
            words = response.error if response else None
        elif (verdict.unscored or "").endswith("error"):
            words = verdict.extra.get("note")
        if isinstance(words, str) and words.strip():
            yield words
