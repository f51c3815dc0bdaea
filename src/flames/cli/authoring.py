"""`flames prompts vary`: prompts in other words."""

from __future__ import annotations

from collections.abc import Iterator

from flames.cli._console import JsonOptions, present
from flames.cli.prompts import SetArgument, load_set
from flames.options import LangOptions
from flames.prompts.vary import Varied, VaryOptions, write_varied
from flames.reports.tables import Block, Cell, Table, line
from flames.reports.words import name_of, say
from flames.storage.record_files import FileOptions


def vary(
    prompts: SetArgument,
    files: FileOptions,
    options: VaryOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Write a set with disguised versions of its prompts, each tied to its original."""
    varied = write_varied(load_set(prompts, files)[1], options)
    data = {**varied.to_dict(), "path": str(options.out)}
    present(output, data, _varied_blocks(varied, str(options.out)), language.lang)


def _varied_blocks(varied: Varied, path: str) -> Iterator[Block]:
    counts = varied.to_dict()["disguises"]
    rows: list[tuple[Cell, ...]] = [
        (name_of("disguise", name), own["written"], own["unchanged"], own["known"])
        for name, own in counts.items()
    ]
    header = (say("disguise"), say("vary.written"), say("vary.unchanged"), say("vary.known"))
    yield Table.of_cells("", header, rows)
    n = len(varied.prompts)
    yield line(say("vary.set", path=path, n=f"{n:,}", originals=f"{varied.originals:,}"))
