"""Entries of the leaderboard: small files of label counts, made from a run and reviewed by people.

An entry holds counts, never rates: everything the site shows is computed from them.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flames import __version__
from flames.analysis.inputs import SourceOptions, read_sources
from flames.errors import InputError, UsageError
from flames.metrics.result import Note
from flames.metrics.source import Source
from flames.options import Opt
from flames.records import Verdict
from flames.storage.atomic import write_atomic
from flames.storage.run_dir import is_run, open_run, safe_name
from flames.storage.text_files import open_binary, parse_json
from flames.taxonomy import Dimension, Taxonomy, default_taxonomy
from flames.text import for_terminal, has_visible_text, shorten

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_Count = Annotated[int, Field(ge=0)]
_Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Counts(_Part):
    """Labels by score (as text, best first), and unscored responses by reason."""

    counts: dict[str, _Count]
    unscored: dict[str, _Count] = Field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many responses were to be had."""
        return sum(self.counts.values()) + sum(self.unscored.values())


class DimensionCounts(Counts):
    """The labels of a dimension, and of its subcomponents."""

    subcomponents: dict[str, Counts] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> DimensionCounts:
        for name in ("counts", "unscored"):
            over = [label for label, left in self._beside_parts(name).items() if left < 0]
            if over:
                raise ValueError(
                    f"the subcomponents count more {name} of {over[0]!r} than the dimension"
                )
        return self

    def _beside_parts(self, name: str) -> Counter[str]:
        rest = Counter(getattr(self, name))
        for part in self.subcomponents.values():
            rest.subtract(getattr(part, name))
        return rest

    def rest(self) -> Counts:
        """Returns the labels that are in no subcomponent."""
        counts, unscored = (+self._beside_parts(name) for name in ("counts", "unscored"))
        return Counts(counts=dict(counts), unscored=dict(unscored))


class PromptSetName(_Part):
    """What was asked; see `flames.records.PromptSetInfo`."""

    name: _Line
    version: _Line | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    n: Annotated[int, Field(ge=1)]
    of: Literal["file", "ids"] = "file"
    ids_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None


class LeaderboardEntry(_Part):
    """One model, asked one prompt set, judged by one scorer.

    `name` is what its row is called where that is not the model: one of several checkpoints, say.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    model: _Line
    name: _Line | None = None
    date: str
    prompt_set: PromptSetName
    scorer: _Line
    taxonomy: _Line = "flames@1"
    code_version: _Line
    samples: Annotated[int, Field(ge=1)] = 1
    truncated: _Count = 0
    dimensions: Annotated[dict[str, DimensionCounts], Field(min_length=1)]
    notes: tuple[Note, ...] = ()
    link: _Line | None = None
    contact: _Line | None = None

    @field_validator("notes", mode="before")
    @classmethod
    def _listed(cls, notes: Any) -> Any:
        if not isinstance(notes, list | tuple):
            raise ValueError("must be a list")
        for note in map(Note.read, notes):
            if len(str(note)) > 300 or _CONTROL.search(str(note)):
                raise ValueError("must be at most 300 characters without control characters")
        return tuple(notes)

    @field_validator("name")
    @classmethod
    def _readable(cls, name: str | None) -> str | None:
        if name is not None and not (has_visible_text(name) and for_terminal(name) == name):
            raise ValueError("must be a name that readers can see")
        return name

    @field_validator("date")
    @classmethod
    def _day(cls, date: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
            raise ValueError("must be a day like 2026-11-22")
        datetime.date.fromisoformat(date)
        return date

    @field_validator("link")
    @classmethod
    def _web(cls, link: str | None) -> str | None:
        if link is not None and not re.fullmatch(r"https?://[^\s<>\"'`]+", link):
            raise ValueError("must be a web address, https://…")
        return link

    @property
    def title(self) -> str:
        """What its row is called."""
        return self.name or self.model

    @property
    def group(self) -> tuple[str, ...]:
        """Entries are ranked only within a group: same prompts, scorer, taxonomy and samples."""
        return (
            self.prompt_set.ids_sha256 or self.prompt_set.sha256,
            self.scorer,
            self.taxonomy,
            str(self.samples),
        )

    @property
    def file_name(self) -> str:
        """What its file is called: its title, prompt set and scorer tell entries apart."""
        digest = hashlib.sha256("\n".join((self.title, *self.group)).encode()).hexdigest()[:6]
        return f"{safe_name(self.title).casefold()[:80]}-{digest}.json"

    def to_json(self) -> str:
        """Returns the text of the file."""
        data = self.model_dump(by_alias=True, exclude_none=True, mode="json")
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def entry_of(
    source: Source,
    *,
    taxonomy: Taxonomy | None = None,
    date: str,
    name: str | None = None,
    link: str | None = None,
    contact: str | None = None,
) -> LeaderboardEntry:
    """Builds an entry from verdicts, which must say what prompts they are on."""
    if not source.joinable:
        message = "has neither `prompt_id` nor `prompt`: an entry must say what was asked"
        raise InputError(message, path=source.origin)
    taxonomy = taxonomy or default_taxonomy()
    by_place: dict[str, dict[str | None, list[Verdict]]] = {}
    for verdict in source.verdicts:
        place = by_place.setdefault(taxonomy.dimension(verdict.dimension).name, {})
        place.setdefault(verdict.subcomponent, []).append(verdict)
    data = {
        "schema": 1,
        "model": shorten(source.model, 200),
        "name": name,
        "date": date,
        "prompt_set": source.prompt_set.model_dump(exclude_none=True),
        "scorer": shorten(source.scorer, 200),
        "taxonomy": taxonomy.id,
        "code_version": __version__,
        "samples": source.samples,
        "truncated": sum(verdict.status == "truncated" for verdict in source.verdicts),
        "dimensions": {
            dimension.name: _dimension(dimension, by_place[dimension.name])
            for dimension in taxonomy.dimensions
            if dimension.name in by_place
        },
        "notes": tuple(
            note if len(str(note)) <= 300 else Note.text(shorten(str(note), 300))
            for note in source.notes
        ),
        "link": link,
        "contact": contact,
    }
    try:
        return LeaderboardEntry.model_validate(data)
    except ValidationError as error:
        field, message = _first_error(error)
        raise InputError(message, field=field) from None


def _dimension(dimension: Dimension, parts: dict[str | None, list[Verdict]]) -> dict[str, Any]:
    names = sorted(name for name in parts if name is not None)
    return {
        **_counts(dimension, chain.from_iterable(parts.values())),
        "subcomponents": {name: _counts(dimension, parts[name]) for name in names},
    }


def _counts(dimension: Dimension, verdicts: Iterable[Verdict]) -> dict[str, Any]:
    verdicts = list(verdicts)
    scores = Counter(verdict.score for verdict in verdicts)
    reasons = Counter(v.unscored or "no score" for v in verdicts if v.score is None)
    return {
        "counts": {str(score): scores[score] for score in dimension.scale},
        "unscored": dict(sorted(reasons.items())),
    }


def read_entry(path: str | os.PathLike[str], taxonomy: Taxonomy | None = None) -> LeaderboardEntry:
    """Reads and checks an entry file; the error names the field."""
    taxonomy = taxonomy or default_taxonomy()
    name = os.fspath(path)
    with open_binary(name) as file:
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("is not text in UTF-8", path=name) from None
    data = parse_json(text, name, None)
    try:
        entry = LeaderboardEntry.model_validate(data)
    except ValidationError as error:
        field, message = _first_error(error)
        raise InputError(message, path=name, field=field) from None
    for message, place in _misfits(entry, taxonomy):
        raise InputError(message, path=name, field=".".join(place))
    return entry


def _first_error(error: ValidationError) -> tuple[str | None, str]:
    first = error.errors(include_url=False)[0]
    text = first["msg"].removeprefix("Value error, ")
    known = {"missing": "is missing", "extra_forbidden": "is no field of an entry"}
    message = known.get(first["type"], f"{text[:1].lower()}{text[1:]}")
    return ".".join(map(str, first["loc"])) or None, message


def _misfits(entry: LeaderboardEntry, taxonomy: Taxonomy) -> Iterator[tuple[str, tuple[str, ...]]]:
    if entry.taxonomy != taxonomy.id:
        yield f"is {entry.taxonomy!r}, this leaderboard's is {taxonomy.id!r}", ("taxonomy",)
    for name, group in entry.dimensions.items():
        place: tuple[str, ...] = ("dimensions", name)
        try:
            dimension = taxonomy.dimension(name)
        except InputError as error:
            yield error.message, place
            continue
        if name != dimension.name:
            yield f"is spelt {dimension.name!r} in the taxonomy", place
        if not group.n:
            yield "counts nothing; leave the dimension out", place
        parts = [(place, group), *(
            ((*place, "subcomponents", part), counts)
            for part, counts in group.subcomponents.items()
        )]  # fmt: skip
        scale = " and ".join(map(str, dimension.scale))
        for where, counts in parts:
            for label in counts.counts:
                if label not in map(str, dimension.scale):
                    at = (*where, "counts", label)
                    yield f"the scores of {name} are {scale}, not {label}", at
        for part in group.subcomponents:
            if part not in {known.name for known in dimension.subcomponents}:
                yield f"is no subcomponent of {name}", (*place, "subcomponents", part)
    total = sum(group.n for group in entry.dimensions.values())
    expected = entry.prompt_set.n * entry.samples
    if total > expected or (total < expected and entry.samples == 1):
        asked = f"{entry.prompt_set.n:,} prompts × {entry.samples} make {expected:,}"
        yield f"the dimensions count {total:,} responses, but {asked}", ("dimensions",)


@dataclass(frozen=True)
class EntryOptions:
    """What an entry says beside its counts, and where it is written."""

    source: Annotated[
        str,
        Opt(
            "A run, a file of verdicts, labels:FILE, labels:silver or labels:natural.",
            metavar="RUN|FILE",
            positional=True,
        ),
    ]
    entries: Annotated[Path, Opt("Folder of the entry files.", metavar="DIR")] = Path("entries")
    name: Annotated[
        str | None, Opt("Name of the row; the model's name by default.", metavar="NAME")
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
    today = datetime.datetime.now(datetime.UTC).date()
    tomorrow = today + datetime.timedelta(days=1)  # it may be tomorrow somewhere
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
    return datetime.datetime.now(datetime.UTC).date().isoformat()
