"""A smaller prompt set and how well it does, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from flames.analysis.selection import Judged, Selection
from flames.reports.tables import Block, Column, Number, Strong, Table, line
from flames.reports.words import say


def selection_document(found: Selection) -> Iterator[Block]:
    """Yields what was chosen, how such choices do on models held out, and what follows."""
    yield line(
        say(
            "select.chosen",
            n=len(found.ids),
            total=found.prompt_set.n,
            name=found.prompt_set.name,
            least=min(found.parts.values()),
            most=max(found.parts.values()),
            parts=len(found.parts),
        )
    )
    for note in found.notes:
        yield line(note.words, kind="note")
    if not found.judged:
        return
    columns = [
        Column[Judged](say("select.way"), lambda each: say(f"select.{each.way}"), text=True),
        Column[Judged]("tau", lambda each: Number(each.tau, 2)),
        Column[Judged](
            say("select.loss"), lambda each: Number(1 - each.tau.value if each.tau else None, 2)
        ),
        Column[Judged](say("select.width"), lambda each: Number(each.width, 1)),
        Column[Judged](say("select.shift"), lambda each: Number(each.shift, 1, sign=True)),
    ]
    title = say("select.judged", held=found.held_out, models=len(found.models), n=found.splits)
    yield Table.of(title, columns, found.judged)
    yield line(say("select.whole", width=str(Number(found.whole_width, 1))))
    if found.gain is not None:
        gain = Number(found.gain, 2, sign=True)
        better = "better" if found.gain.low > 0 else "worse" if found.gain.high < 0 else "same"
        yield line(Strong(say(f"select.{better}", way=say(f"select.{found.keep}"), gain=str(gain))))
    yield line(say("select.method"), kind="soft")
