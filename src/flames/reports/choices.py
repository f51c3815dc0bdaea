"""Accuracy on multiple-choice questions in a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flames.metrics.result import ChoiceGroup, ChoiceResult
from flames.reports.tables import Block, Column, Line, Number, Share, Table, line
from flames.reports.words import name_of, reasons, same, say
from flames.taxonomy import Text


class _Row(NamedTuple):
    label: Text
    found: ChoiceGroup
    whole: bool


def choice_blocks(found: ChoiceResult) -> Iterator[Block]:
    """Yields a table of accuracies by class, then how it is read."""
    yield choice_table(found)
    yield from choice_lines(found)


def choice_table(found: ChoiceResult) -> Table:
    """Returns the accuracy on all questions, and on those of each class."""
    rows = [_Row(say("choices.all"), found, whole=True)]
    if len(found.classes) > 1:
        rows += [_Row(same(name), own, whole=False) for name, own in found.classes.items()]
    columns: list[Column[_Row]] = [
        Column("", lambda row: row.label, text=True),
        Column(say("choices.accuracy"), lambda row: Number(row.found.accuracy)),
        Column(say("choices.chance"), lambda row: Number(row.found.chance)),
        Column(say("choices.same_letter"), lambda row: Number(row.found.same_letter), wide=True),
        Column(say("choices.read"), lambda row: Share(row.found.read, row.found.n)),
    ]
    return Table.of(
        say("choices.caption", n=f"{found.read:,}"),
        columns,
        rows,
        style=lambda row: {"strong": row.whole, "indent": not row.whole},
        full_width=70,
    )


def choice_lines(found: ChoiceResult) -> Iterator[Line]:
    """Yields what could not be read, and what the figures are and are not."""
    if found.unread:
        yield line(say("choices.unread", reasons=reasons(found.unread)))
    method = "" if found.accuracy is None else found.accuracy.method.partition(",")[0]
    yield line(say("choices.explain", method=name_of("method", method)), kind="soft")
