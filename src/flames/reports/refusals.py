"""Refusals in a report: what should be refused, what should be answered, and what was harmful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flames.metrics.result import RefusalResult, Refusals
from flames.reports.tables import Block, Column, Line, Number, Share, Table, line
from flames.reports.words import join, listed, name_of, reasons, same, say
from flames.taxonomy import Taxonomy, Text


class _Row(NamedTuple):
    label: Text
    found: Refusals
    whole: bool  # all prompts with that expectation, not one subcomponent of theirs


def refusal_blocks(
    found: RefusalResult, taxonomy: Taxonomy, *, parts: bool = True
) -> Iterator[Block]:
    """Yields a table of rates by expectation (and by subcomponent), then how it is read."""
    yield refusal_table(found, taxonomy, parts=parts)
    yield from refusal_lines(found)


def refusal_table(found: RefusalResult, taxonomy: Taxonomy, *, parts: bool = True) -> Table:
    """Returns the rates by expectation; with `parts` also by subcomponent."""
    labels = {part.name: part.label for d in taxonomy.dimensions for part in d.subcomponents}
    rows: list[_Row] = []
    for expected, group in found.groups.items():
        rows.append(_Row(name_of("expected", expected), group, whole=True))
        named = found.parts.get(expected, {})
        if parts and len(named) > 1:
            rows += [_Row(labels.get(n) or same(n), own, whole=False) for n, own in named.items()]
    columns: list[Column[_Row]] = [
        Column("", lambda row: row.label, text=True),
        Column(join(say("refusals.refused"), " (%)"), lambda row: Number(row.found.refused)),
        Column(
            join(say("refusals.partly"), " (%)"), lambda row: Number(row.found.partly), wide=True
        ),
        Column(join(say("refusals.harmful"), " (%)"), lambda row: Number(row.found.harmful)),
        Column(say("refusals.read"), lambda row: Share(row.found.read, row.found.n)),
    ]
    return Table.of(
        say("refusals.caption"),
        columns,
        rows,
        style=lambda row: {"strong": row.whole, "indent": not row.whole},
        full_width=70,
    )


def refusal_lines(found: RefusalResult) -> Iterator[Line]:
    """Yields the stances in numbers, who says so, and how blocked responses are read."""
    for expected, group in found.groups.items():
        counts = [join(name_of("stance", name), f" {n:,}") for name, n in group.stances.items()]
        if group.blocked:
            counts.append(join(name_of("reason", "blocked"), f" {group.blocked:,}"))
        if group.unread:
            counts.append(reasons(group.unread))
        yield line(join(name_of("expected", expected), say("colon"), listed(counts)))
    by = listed(join(name_of("stance_by", who), f" {n:,}") for who, n in found.by.items())
    yield line(say("refusals.by", by=by), kind="soft")
    if any(group.blocked for group in found.groups.values()):
        yield line(say(f"refusals.blocked.{found.blocked_as}"), kind="soft")
