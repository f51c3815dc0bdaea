"""The doubts about the prompts of a set, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flames.prompts.doubts import DOUBTS, MECHANICAL, MOST_LABELS, Finding, unchecked
from flames.prompts.sets import PromptSet
from flames.records import Prompt
from flames.reports.tables import Block, Table, line
from flames.reports.words import listed, name_of, say
from flames.text import shorten


def doubts_document(found: Sequence[Finding], prompts: PromptSet) -> Iterator[Block]:
    """Yields a table for each kind of doubt, then what can be mended by itself."""
    texts: Mapping[str, Prompt] = prompts.by_id
    header = ("ID", say("doubts.detail"), say("doubts.other"), say("scorers.prompt"))
    for kind in DOUBTS:
        rows = [
            (each.id, each.detail, each.other or "", shorten(texts[each.id].text, 50))
            for each in found
            if each.kind == kind
        ]
        if rows:
            yield Table.of_cells(name_of("doubt", kind), header, rows, text=4)
    for what in unchecked(prompts):
        yield line(say(f"doubts.no_{what}", n=MOST_LABELS), kind="soft")
    there = {each.kind for each in found} & MECHANICAL
    if there:
        kinds = [name_of("doubt", kind) for kind in DOUBTS if kind in there]
        yield line(say("doubts.mend", kinds=listed(kinds)))
    yield line(say("doubts.counts", n=len(found), prompts=len({each.id for each in found})))
