"""What was found of a prompt set in corpora, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from flames.prompts.contamination import Contamination
from flames.prompts.sets import PromptSet
from flames.reports.tables import Block, Number, Table, line
from flames.reports.words import say
from flames.text import shorten


def contamination_document(found: Contamination, prompts: PromptSet) -> Iterator[Block]:
    """Yields the prompts and canaries that were found, and what was looked for and read."""
    rows = [
        (
            trace.id,
            trace.first,
            shorten(prompts.by_id[trace.id].text, 40),
            f"{trace.found}/{trace.grams}",
            Number(trace.share, digits=0, unit=" %"),
        )
        for trace in found.leaked
    ]
    if rows:
        header = (
            "ID",
            say("leak.first"),
            say("scorers.prompt"),
            say("leak.grams"),
            say("leak.share"),
        )
        yield Table.of_cells(say("leak.prompts"), header, rows, text=3)
    for guid, place in found.canaries.items():
        if place is None:
            yield line(say("leak.no_canary", guid=guid))
        else:
            yield line(say("leak.canary", guid=guid, place=place))
    there = sum(trace.found > 0 for trace in found.traces)
    counts = {
        "n": len(found.traces),
        "leaked": len(found.leaked),
        "some": there - len(found.leaked),
    }
    yield line(say("leak.counts", least=f"{found.least:g}", **counts))
    if found.too_short:
        yield line(say("leak.too_short", n=len(found.too_short), ids=", ".join(found.too_short)))
    read = found.reading
    yield line(
        say("leak.read", files=read.files, bytes=read.bytes, rows=read.rows, gram=found.gram)
    )
    if read.unreadable_rows:
        yield line(say("leak.unreadable", n=read.unreadable_rows))
    for path, reason in read.skipped.items():
        yield line(say("leak.skipped", path=path, reason=reason))
