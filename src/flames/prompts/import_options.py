"""The options of an import, and the import as a whole: mapping, prompts, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from flames.errors import UsageError
from flames.options import Opt, SeedOptions
from flames.prompts.import_map import ENDING, ImportMap, importer_path, load_map
from flames.prompts.imported import Imported, own_taxonomy
from flames.prompts.importing import HowToImport, import_prompts, with_columns
from flames.prompts.pack import PackOptions, pack_prompts
from flames.prompts.sets import PromptSet
from flames.records import dump_json
from flames.storage.atomic import to_jsonl, write_atomic
from flames.storage.mapping import parse_mapping
from flames.storage.record_files import TextOptions
from flames.taxonomy import Taxonomy, load_taxonomy


def parse_values(given: Sequence[str]) -> dict[str, str]:
    """Reads `性别歧视=Fairness/Bias,其他=`; nothing after the sign means no place."""
    values: dict[str, str] = {}
    for part in (part.strip() for text in given for part in text.split(",")):
        name, equals, target = (piece.strip() for piece in part.partition("="))
        if not part:
            continue
        if not (name and equals):
            raise UsageError(f"--values takes CLASS=DIMENSION/SUBCOMPONENT,…, not {part!r}")
        if name in values:
            raise UsageError(f"--values names the class {name!r} twice")
        values[name] = target
    return values


@dataclass(frozen=True)
class ImportOptions(TextOptions, SeedOptions):
    """What is imported, and where it goes."""

    source: Annotated[
        str | None,
        Opt(
            "A file, a folder or a mirror of the publisher's files.",
            flag="--from",
            metavar="PATH|URL",
        ),
    ] = None
    out: Annotated[
        Path | None,
        Opt("Where the prompts go; NAME.jsonl or NAME@V unless given.", metavar="FILE|FOLDER"),
    ] = None
    version: Annotated[
        str | None,
        Opt("Make a package of this version, with a card from the mapping.", metavar="V"),
    ] = None
    mapping: Annotated[
        str | None,
        Opt(
            "Columns of the file, or a mapping of your own (.toml).",
            flag="--map",
            metavar="FIELD=COLUMN,…|FILE",
        ),
    ] = None
    values: Annotated[
        Mapping[str, str],
        Opt(
            "Where classes belong, before the mapping; may be repeated.",
            metavar="CLASS=DIMENSION/SUBCOMPONENT,…",
            parse=parse_values,
            repeat=True,
        ),
    ] = field(default_factory=dict)
    own_classes: Annotated[
        Path | None,
        Opt(
            "Keep every class, as the dimensions of a taxonomy that is written to this file.",
            metavar="FILE",
        ),
    ] = None
    rest: Annotated[
        Path | None,
        Opt("Write the rows that became no prompts, with the reason.", metavar="FILE"),
    ] = None
    shuffle: Annotated[
        bool, Opt("Shuffle the options of multiple-choice questions, as --seed says.")
    ] = False
    overwrite: Annotated[bool, Opt("Replace files that are there.")] = False

    def spec(self, name: str, taxonomy: Taxonomy) -> ImportMap:
        """Loads the mapping of an importer, or the user's own, with the user's columns.

        Raises:
            UsageError: There is no importer of that name.
            InputError: The user's mapping is unusable.
        """
        own = self.mapping or ""
        if own.lower().endswith(ENDING) and "=" not in own:
            return load_map(own, taxonomy)
        spec = load_map(importer_path(name), taxonomy)
        return with_columns(spec, parse_mapping(own)) if own else spec


def run_import(name: str, options: ImportOptions) -> tuple[Imported, Path]:
    """Imports a set and writes its file; returns what became of the rows, and the file.

    Raises:
        UsageError: A file to write is there already, or the card of a package lacks its licence.
    """
    taxonomy = load_taxonomy(options.taxonomy)
    spec = options.spec(name, taxonomy)
    out = options.out or Path(f"{spec.name}.jsonl")
    if options.version is not None:
        out = options.out or Path(f"{spec.name}@{options.version}")
        if not spec.licence:
            raise UsageError(
                f"--version makes a card, and the mapping of {spec.name} names no licence: "
                "flames prompts pack takes one"
            )
    files = (options.rest, options.own_classes)
    for path in files if options.version is not None else (out, *files):
        if path is not None and path.exists() and not options.overwrite:
            raise UsageError(f"{path}: is there already; choose another name or --overwrite it")
    how = HowToImport(
        taxonomy,
        values=options.values,
        own_classes=options.own_classes is not None,
        shuffle=options.seed if options.shuffle else None,
        encoding=options.encoding,
        sheet=options.sheet,
    )
    done = import_prompts(options.source, spec, how)
    if options.rest is not None:
        write_atomic(options.rest, to_jsonl(row.to_dict() for row in done.left))
    if done.prompts:
        own = own_taxonomy(done) if options.own_classes is not None else None
        if options.version is not None:
            fetched = options.source is None
            _pack(done, out, options.version, own or taxonomy, spec.commit if fetched else "")
        else:
            write_atomic(out, to_jsonl(prompt.to_dict() for prompt in done.prompts))
        if options.own_classes is not None and own is not None:
            made = own.model_dump(by_alias=True, exclude_none=True)
            write_atomic(options.own_classes, dump_json(made))
    return done, out


def _pack(done: Imported, out: Path, version: str, taxonomy: Taxonomy, commit: str) -> None:
    """Writes the prompts as a package; its card says whose they are and which files were read.

    `commit` is that of files which were fetched; of others nobody knows.
    """
    spec = done.spec
    place = f"{spec.repository}@{commit}" if commit else spec.repository
    read = ", ".join(f"{file.name} (SHA-256 {file.sha256[:12]}…)" for file in done.files)
    languages = {str(prompt.extra.get("language") or "und") for prompt in done.prompts}
    card = PackOptions(
        name=spec.name,
        version=version,
        licence=spec.licence,
        origin="; ".join(filter(None, (spec.title, place, f"imported from {read}"))),
        languages=tuple(sorted(languages)),
        out=out,
    )
    pack_prompts(PromptSet(spec.name, "", tuple(done.prompts), out), card, taxonomy)
