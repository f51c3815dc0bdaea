"""Adding entries: from a run or a file of verdicts to entry files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from flames.analysis.inputs import SourceOptions, read_sources
from flames.analysis.source import Source
from flames.errors import UsageError
from flames.leaderboard.entries import LeaderboardEntry, entry_of
from flames.options import Opt
from flames.storage.atomic import write_atomic
from flames.storage.run_dir import is_run, open_run


@dataclass(frozen=True)
class EntryOptions:
    """What an entry says beside its counts, and where it is written."""

    source: Annotated[
        str,
        Opt(
            "A run, a file of verdicts, labels:FILE or labels:silver.",
            metavar="RUN|FILE",
            positional=True,
        ),
    ]
    entries: Annotated[Path, Opt("Folder of the entry files.", metavar="DIR")] = Path("entries")
    name: Annotated[
        str | None,
        Opt(
            "Name of the row, if its model has one already; the model's name by default.",
            metavar="NAME",
        ),
    ] = None
    date: Annotated[
        str | None, Opt("Day of the measurement; the run's by default, else today.", metavar="DAY")
    ] = None
    link: Annotated[str | None, Opt("Web page of the model or the run.", metavar="URL")] = None
    contact: Annotated[str | None, Opt("Contact person for this entry.", metavar="WHO")] = None
    overwrite: Annotated[bool, Opt("Replace the row of that name.")] = False


def add_entries(options: EntryOptions, reading: SourceOptions) -> Mapping[Path, LeaderboardEntry]:
    """Writes an entry for each result of a run or file: all of them, or none."""
    sources, read = read_sources([options.source], reading)
    if options.name is not None and len(sources) > 1:
        raise UsageError(
            f"--name is for one row, but {options.source} holds {len(sources)} results"
        )
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)  # it may be tomorrow somewhere
    made: dict[Path, LeaderboardEntry] = {}
    for source in sources:
        entry = entry_of(
            source,
            taxonomy=read.taxonomy,
            name=options.name,
            date=options.date or _day(source),
            link=options.link,
            contact=options.contact,
        )
        if entry.date > tomorrow.isoformat():
            raise UsageError(f"--date {entry.date} lies in the future")
        made[options.entries / entry.file_name] = entry
    if len(made) < len(sources):
        raise UsageError(
            f"{options.source}: several results would have the same entry; choose a --scorer"
        )
    for path, entry in made.items():
        text = entry.to_json().encode("utf-8")
        if path.exists() and not options.overwrite and path.read_bytes() != text:
            raise UsageError(
                f"{path}: there is another row {entry.title!r} by {entry.scorer}; --name NAME adds "
                "this one beside it, --overwrite replaces it"
            )
    for path, entry in made.items():
        write_atomic(path, entry.to_json())
    return made


def _day(source: Source) -> str:
    if is_run(source.origin):
        return open_run(source.origin).manifest.created[:10]
    return datetime.now(UTC).date().isoformat()
