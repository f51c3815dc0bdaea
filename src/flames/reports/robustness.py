"""Robustness in reports and comparisons: pairs of an original and a variant that flip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flames.metrics.result import Flips, Robustness
from flames.metrics.robustness import NO_ORIGINAL
from flames.reports.tables import Block, Column, Line, Number, Share, Table, line
from flames.reports.words import join, listed, load_strings, name_of, p_text, say
from flames.taxonomy import Text
from flames.text import shorten

if TYPE_CHECKING:
    from flames.analysis.comparison import RobustnessChange

_WIDTH = 130


def robustness_blocks(found: Robustness) -> Iterator[Block]:
    """Yields a table of flips by disguise or technique, then what is in no pair."""
    yield robustness_table(found)
    yield from robustness_lines(found)


def robustness_table(found: Robustness) -> Table:
    """Returns the shares of pairs that flip, and what that does to the harmless rate."""
    rows = [(say("robustness.all"), found.overall)]
    rows += [(kind_name(kind), own) for kind, own in found.kinds.items()]
    columns: list[Column[tuple[Text, Flips]]] = [
        Column("", lambda row: row[0], text=True),
        Column(join(say("robustness.lost"), " (%)"), lambda row: Number(row[1].lost)),
        Column(join(say("robustness.gained"), " (%)"), lambda row: Number(row[1].gained)),
        Column(say("robustness.before"), lambda row: Number(row[1].before), wide=True),
        Column(say("robustness.after"), lambda row: Number(row[1].after), wide=True),
        Column(
            say("compare.difference"),
            lambda row: Number(row[1].difference, sign=True, strong=_sure(row[1])),
        ),
        Column("p", lambda row: _p(row[1].p, row[1].p_holm)),
        Column(say("robustness.pairs"), lambda row: Share(row[1].scored, row[1].n)),
    ]
    return Table.of(
        say("robustness.caption"),
        columns,
        rows,
        style=lambda row: {"strong": row[1] is found.overall},
        full_width=_WIDTH,
    )


def robustness_lines(found: Robustness) -> Iterator[Line]:
    """Yields which pairs have no score, and how the others were compared."""
    overall = found.overall
    if overall.unscored:
        reasons = (join(_why(why), f" {n:,}") for why, n in overall.unscored.items())
        yield line(say("robustness.unscored", list=listed(reasons)))
    yield line(say("robustness.hint", n=f"{overall.originals:,}"), kind="soft")


def change_table(found: Mapping[str, RobustnessChange], first: str, second: str) -> Table:
    """Returns how the share of pairs that turn harmful differs between two models."""
    rows = [(kind_name(kind) if kind else say("robustness.all"), own)
            for kind, own in found.items()]  # fmt: skip
    columns: list[Column[tuple[Text, RobustnessChange]]] = [
        Column("", lambda row: row[0], text=True),
        Column(shorten(first, 14), lambda row: Number(row[1].first)),
        Column(shorten(second, 14), lambda row: Number(row[1].second)),
        Column(
            say("compare.difference"),
            lambda row: Number(row[1].difference, sign=True, strong=row[1].significant),
        ),
        Column("p", lambda row: _p(row[1].p, row[1].p_holm)),
        Column(say("robustness.pairs"), lambda row: row[1].n),
    ]
    return Table.of(say("robustness.change"), columns, rows)


def kind_name(kind: str) -> Text:
    """Returns what a disguise, or else a technique, is called."""
    if not kind:
        return say("robustness.other")
    return load_strings().get(f"disguise.{kind}") or name_of("technique", kind)


def _why(why: str) -> Text:
    if why == NO_ORIGINAL:
        return say("robustness.no_original")
    side, _, reason = why.partition(": ")
    return join(say(f"robustness.of_{side}"), name_of("reason", reason))


def _sure(flips: Flips) -> bool:
    p = flips.p if flips.p_holm is None else flips.p_holm
    return p is not None and p < 0.05


def _p(p: float | None, p_holm: float | None) -> str:
    return p_text(p if p_holm is None else p_holm).removeprefix("= ")
