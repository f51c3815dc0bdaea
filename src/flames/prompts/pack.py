"""Makes a package of a prompt set (a folder with a card), and installs packages by name."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from flames.errors import InputError, UsageError
from flames.options import CheckedOptions, Opt
from flames.prompts.card import CARD, Card, Change, Counts, canaries_in
from flames.prompts.check import check_prompts
from flames.prompts.diff import PromptDiff, diff_prompts
from flames.prompts.known import KNOWN_SETS, KnownSet, find_set, installed_folder, installed_sets
from flames.prompts.sets import PromptSet, load_prompts
from flames.records import Prompt, ids_sha256, with_canary
from flames.storage.atomic import folder_atomic, to_jsonl
from flames.taxonomy import Taxonomy


@dataclass(frozen=True)
class PackOptions(CheckedOptions):
    """What the card of a new package says."""

    name: Annotated[str, Opt("Name of the set.", metavar="NAME")]
    version: Annotated[str, Opt("Version of the set, such as 1.0.", metavar="V")]
    licence: Annotated[str, Opt("Licence of the prompts, such as CC-BY-4.0.", metavar="NAME")]
    origin: Annotated[str, Opt("Who wrote the prompts, and from what.", metavar="TEXT")]
    languages: Annotated[
        tuple[str, ...], Opt("Languages of the prompts.", metavar="A,B", commas=True)
    ] = ("zh",)
    previous: Annotated[
        str | None,
        Opt("The version before, for the changelog and the canary.", metavar="SET|PATH"),
    ] = None
    out: Annotated[
        Path | None, Opt("Folder of the package; NAME@VERSION unless given.", metavar="FOLDER")
    ] = None


def pack_prompts(
    prompts: PromptSet, options: PackOptions, taxonomy: Taxonomy | None = None
) -> tuple[Path, Card]:
    """Writes a set as a package: `card.yaml` and `prompts.jsonl`, both or neither.

    Every row gets the package's canary, the previous version's where there is one. Labels are
    written by their names, ids as they are.

    Raises:
        UsageError: The version exists already with other content.
    """
    folder = Path(f"{options.name}@{options.version}") if options.out is None else options.out
    before = None if options.previous is None else load_prompts(options.previous, taxonomy=taxonomy)
    known = None if options.previous is None else find_set(options.previous)
    old = known.card if known else None
    if before is not None and before.full_name == f"{options.name}@{options.version}":
        raise UsageError(f"--previous is {before.full_name} itself: choose another --version")
    same = _same_version(folder, options, prompts, taxonomy)
    canary = same.canary if same else old.canary if old else None
    canary = canary or next(iter(_row_canaries(prompts)), None) or str(uuid.uuid4())
    rows = to_jsonl(with_canary(prompt.to_dict(), canary) for prompt in prompts.prompts)
    if same is not None:
        log: tuple[Change, ...] = same.changelog
    elif before is None:
        log = (_change(options.version, f"first version, {len(prompts.prompts):,} prompts"),)
    else:
        told = changes_line(diff_prompts(before, prompts))
        log = (*(old.changelog if old else ()), _change(options.version, told))
    given = {
        "name": options.name,
        "version": options.version,
        "licence": options.licence,
        "languages": options.languages,
        "origin": options.origin,
        "counts": Counts.of(prompts.prompts),
        "sha256": hashlib.sha256(rows.encode("utf-8")).hexdigest(),
        "ids_sha256": ids_sha256(prompts.prompts),
        "canary": canary,
        "changelog": log,
    }
    try:
        card = Card(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--{first['loc'][0]}: {message}") from None
    with folder_atomic(folder) as made:
        (made / card.file).write_text(rows, "utf-8")
        (made / CARD).write_text(card.to_yaml(), "utf-8")
    return folder, card


def install_package(folder: str | os.PathLike[str], taxonomy: Taxonomy | None = None) -> KnownSet:
    """Copies a package to where sets are found as `name@version`, after a check against its card.

    Raises:
        InputError: The folder is no package, or its card and its file do not agree.
        UsageError: That version is there already with other content.
    """
    package = find_set(os.fspath(folder))
    if package is None:
        raise InputError(
            f"is no package, a folder with a {CARD}: flames prompts pack makes one", path=folder
        )
    check = check_prompts(folder, taxonomy=taxonomy)
    if check.errors:
        more = len(check.errors) - 1
        rest = f" (and {more:,} more: flames prompts validate {folder})" if more else ""
        first = check.errors[0]
        raise InputError(first.message + rest, path=first.path, line=first.line, field=first.field)
    card = package.card
    target = installed_folder() / card.full_name
    there = _there(card.name, card.version, target)
    for known in there:
        _refuse_other(known, check.prompts, taxonomy)
    if target.is_dir() or (there and there[0].folder != target):
        return there[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    with folder_atomic(target) as made:
        (made / card.file).write_bytes(package.path.read_bytes())
        (made / CARD).write_text(card.to_yaml(), "utf-8")
    return KnownSet(target)


def changes_line(diff: PromptDiff) -> str:
    """Returns what two versions differ in, in a line for a changelog."""
    counts: Mapping[str, Sequence[Any]] = {
        "added": diff.added,
        "removed": diff.removed,
        "reworded": diff.reworded,
        "relabelled": diff.relabelled,
        "with another id": diff.renamed,
    }
    told = [f"{len(found):,} {what}" for what, found in counts.items() if found]
    told.append(f"{diff.unchanged:,} as they were")
    return f"from {diff.old.full_name}: {', '.join(told)}"


def _change(version: str, changes: str) -> Change:
    return Change.model_construct(
        version=version, date=datetime.now(UTC).date().isoformat(), changes=changes
    )


def _row_canaries(prompts: PromptSet) -> list[str]:
    """Returns the canaries that the rows of a file carry already."""
    if not prompts.path.is_file():
        return []  # it came by a pipe
    return [canary for canary in canaries_in(prompts.path) if canary]


def _there(name: str, version: str, *folders: Path) -> list[KnownSet]:
    """Returns the packages of a name and version: bundled, installed, and those of folders."""
    known = [each for each in (*KNOWN_SETS.values(), *installed_sets()) if each.present]
    known += [KnownSet(folder) for folder in folders if (folder / CARD).is_file()]
    return [each for each in known if (each.name, each.card.version) == (name, version)]


def _same_version(
    folder: Path, options: PackOptions, prompts: PromptSet, taxonomy: Taxonomy | None
) -> Card | None:
    """Returns the card of this version where it exists with the same content."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        other = KnownSet(folder).card if (folder / CARD).is_file() else None
        if other is None or other.full_name != f"{options.name}@{options.version}":
            what = other.full_name if other else "something that is no prompt set"
            raise UsageError(f"{folder}: holds {what}; choose another --out")
    there = _there(options.name, options.version, folder)
    for known in there:
        _refuse_other(known, prompts.prompts, taxonomy)
    return there[0].card if there else None


def _refuse_other(known: KnownSet, prompts: Sequence[Prompt], taxonomy: Taxonomy | None) -> None:
    if list(load_prompts(known.folder, taxonomy=taxonomy).prompts) != list(prompts):
        raise UsageError(
            f"{known.card.full_name} exists with other prompts ({known.folder}), and a version "
            "never changes: choose another --version"
        )
