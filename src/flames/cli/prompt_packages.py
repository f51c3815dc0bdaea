"""`flames prompts pack` and `install`: prompt sets as packages with a version."""

from __future__ import annotations

from typing import Annotated

import typer

from flames.cli._console import JsonOptions, tell
from flames.prompts.pack import PackOptions, install_package, pack_prompts
from flames.prompts.sets import load_prompts
from flames.storage.record_files import FileOptions
from flames.taxonomy import load_taxonomy


def pack(
    prompts: Annotated[
        str, typer.Argument(metavar="SET|PATH", help="The prompts: a file, or a set by name.")
    ],
    options: PackOptions,
    files: FileOptions,
    output: JsonOptions,
) -> None:
    """Make a package of a prompt set: a folder with its card, a version and a canary."""
    taxonomy = load_taxonomy(files.taxonomy)
    found = load_prompts(
        prompts,
        taxonomy=taxonomy,
        mapping=files.mapping,
        encoding=files.encoding,
        sheet=files.sheet,
    )
    folder, card = pack_prompts(found, options, taxonomy)
    data = {"path": str(folder), **card.model_dump(mode="json", exclude_none=True)}
    change = f"; {card.changelog[-1].changes}" if card.changelog else ""
    tell(output, data, [f"{card.full_name}: {card.counts.prompts} prompts in {folder}{change}"])


def install(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The package.")],
    files: FileOptions,
    output: JsonOptions,
) -> None:
    """Install a package, so that its prompts are found as NAME@VERSION (FLAMES_HOME moves it)."""
    known = install_package(folder, load_taxonomy(files.taxonomy))
    card = known.card
    data = {"name": card.name, "version": card.version, "path": str(known.folder)}
    tell(output, data, [f"{card.full_name}: {card.counts.prompts} prompts, kept in {known.folder}"])
