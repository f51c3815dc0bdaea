"""What an import gave, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from flames.prompts.import_map import ImportMap
from flames.prompts.imported import ClassCount, Imported
from flames.reports.tables import Block, Cell, Column, Table, line
from flames.reports.words import DASH, join, listed, name_of, say
from flames.taxonomy import Taxonomy


def importers_table(specs: Sequence[ImportMap]) -> Table:
    """Returns a table of the importers that are known by name."""
    columns: list[Column[ImportMap]] = [
        Column(say("import.name"), lambda spec: spec.name, text=True),
        Column(say("scorers.kinds.title"), lambda spec: spec.title, text=True),
        Column(say("import.licence"), lambda spec: spec.licence or DASH, text=True),
        Column(
            say("import.fetched"),
            lambda spec: say("import.fetched.yes" if spec.commit else "import.fetched.no"),
            text=True,
        ),
    ]
    return Table.of("", columns, specs)


def import_document(done: Imported, out: Path, taxonomy: Taxonomy) -> Iterator[Block]:
    """Yields the classes with what became of them, then counts, licence and the file.

    Dimensions that are not the taxonomy's, being the source's own classes, are named as they are.
    """
    columns: list[Column[ClassCount]] = [
        Column(say("import.class"), lambda row: row.name or DASH, text=True),
        Column(say("import.place"), lambda row: _place(row, taxonomy), text=True),
        Column(say("import.rows"), lambda row: row.rows),
        Column(say("import.kept"), lambda row: row.kept),
    ]
    rows = sorted(done.classes.values(), key=lambda row: (row.target is None, -row.rows))
    yield Table.of(done.spec.title or done.spec.name, columns, rows)
    counts = {"rows": f"{done.rows:,}", "kept": f"{len(done.prompts):,}"}
    yield line(say("import.counts", **counts, left=f"{len(done.left):,}"))
    if done.left:
        left = (join(name_of("import.why", why), f" {n:,}") for why, n in done.reasons.items())
        yield line(say("import.left", reasons=listed(left)))
    unknown = [
        row for row in done.classes.values() if not row.target and not row.known and row.name
    ]
    if unknown:
        names = listed(f"{row.name} {row.rows:,}" for row in unknown)
        yield line(say("import.unknown", names=names), kind="note")
    if done.questions:
        n, unanswered = f"{done.questions:,}", f"{done.unanswered:,}"
        yield line(say("import.questions", n=n, unanswered=unanswered))
    if done.spec.licence:
        yield line(say("import.licence.is", licence=done.spec.licence), kind="soft")
    if done.prompts:
        yield line(say("import.out", out=out))


def _place(row: ClassCount, taxonomy: Taxonomy) -> Cell:
    if row.target is not None:
        if row.target.dimension not in taxonomy.names:
            return " · ".join(filter(None, row.target))
        dimension = taxonomy.dimension(row.target.dimension)
        part = row.target.subcomponent
        return (
            join(dimension.label, " · ", dimension.subcomponent(part).label)
            if part
            else (dimension.label)
        )
    if not row.name:
        return name_of("import.why", "no class")
    why = name_of("import.why", "no counterpart" if row.known else "unknown class")
    return join(why, say("colon"), row.why) if row.why else why
