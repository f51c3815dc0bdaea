"""What went wrong, before anything else: the worst parts, the clearest failures, what was blocked.

Chosen and put into rows and words here; every form of the report shows the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flames.metrics.columns import NO_SCORE, Columns
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.reports import view
from flames.reports.tables import Block, Column, Heading, Number, Table, line
from flames.reports.words import join, say
from flames.taxonomy import Taxonomy, Text

PARTS, FAILURES = 5, 10


@dataclass(frozen=True)
class WorstPart:
    """A subcomponent, or a dimension without any, with how often it got the worst score."""

    row: view.GroupRow
    label: Text
    worst: int  # the score
    times: int

    @property
    def counted(self) -> Text:
        """`31 of 96 harmful`."""
        return say("worst.counted", times=f"{self.times:,}", n=f"{self.row.group.scored:,}")


def worst_parts(result: Result, taxonomy: Taxonomy) -> list[WorstPart]:
    """Returns the subcomponents with the lowest harmless rates, the lowest first.

    Where two are equal, the one with the narrower interval is surer to be bad. Dimensions stand
    in for subcomponents that nobody named.
    """
    rows = [row for row in view.dimension_rows(result, taxonomy) if row.group.harmless_rate]
    labels = {row.name: row.label for row in rows if row.kind == "dimension"}
    parts = [row for row in rows if row.kind == "subcomponent"]
    found = []
    for row in parts or rows:
        rate = row.group.harmless_rate
        if rate is None or rate.value >= 100:
            continue
        worst = row.scale[-1]
        above = labels.get(row.parent or "")
        label = join(above, " · ", row.label) if above else row.label
        times = row.group.counts.get(str(worst), 0)
        found.append((rate.value, rate.high, WorstPart(row, label, worst, times)))
    return [part for *_, part in sorted(found, key=lambda each: each[:2])[:PARTS]]


def clearest_failures(source: Source, taxonomy: Taxonomy) -> list[int]:
    """Returns the verdicts with the worst score that the scorer is surest of, as positions.

    One of each subcomponent, the surest first. Without probabilities the first ones stand.
    """
    columns = Columns.of(source.verdicts)
    scores, codes = columns.score_column(), columns.codes("dimension")
    failed = np.zeros(len(columns), dtype=bool)
    chances = np.full(len(columns), -1.0)
    for code, name in enumerate(columns.texts("dimension")):
        worst = taxonomy.dimension(name or "").scale[-1]
        own = (codes == code) & (scores == worst) & (scores != NO_SCORE)
        failed |= own
        chances[own] = np.nan_to_num(columns.chance_of(worst, own), nan=-1.0)
    rows = np.flatnonzero(failed)
    rows = rows[np.argsort(-chances[rows], kind="stable")]
    parts = codes.astype(np.int64) * (1 + len(columns.texts("subcomponent")))
    parts += columns.codes("subcomponent")
    _, first = np.unique(parts[rows], return_index=True)
    return [int(row) for row in rows[np.sort(first)][:FAILURES]]


def blocked_line(result: Result) -> Text | None:
    """Returns how many responses were blocked, and how the overall rate would read with them."""
    blocked = result.blocked
    if blocked is None:
        return None
    share = view.percent(blocked.n, result.overall.coverage.prompts)
    head = say("worst.blocked", n=f"{blocked.n:,}", percent=share)
    ends = (blocked.if_harmless, blocked.if_harmful)
    if ends[0] is None or ends[1] is None:
        return head
    harmless, harmful = (str(Number(end, 2, 1, unit=" %")) for end in ends)
    return join(head, say("worst.blocked.if", harmless=harmless, harmful=harmful))


def worst_lines(result: Result, taxonomy: Taxonomy) -> Iterator[Block]:
    """Yields the worst parts and what was blocked as a list under a heading."""
    lines = [
        line(part.label, ": ", Number(part.row.group.harmless_rate, 2, 1, unit=" %"),
             say("semicolon"), part.counted)
        for part in worst_parts(result, taxonomy)
    ]  # fmt: skip
    if (blocked := blocked_line(result)) is not None:
        lines.append(line(blocked))
    if lines:
        yield Heading(say("worst.parts"), 2)
    yield from lines


def worst_blocks(result: Result, taxonomy: Taxonomy) -> Iterator[Block]:
    """Yields the worst parts and what was blocked, as a short table and a line."""
    columns: list[Column[WorstPart]] = [
        Column("", lambda part: part.label, text=True),
        Column(
            join(say("harmless_rate"), " (%)"),
            lambda part: Number(part.row.group.harmless_rate, 2, 1),
            short=say("short.rate"),
        ),
        Column("", lambda part: part.counted),
    ]
    if parts := worst_parts(result, taxonomy):
        yield Table.of(say("worst.parts"), columns, parts)
    if (blocked := blocked_line(result)) is not None:
        yield line(blocked)
