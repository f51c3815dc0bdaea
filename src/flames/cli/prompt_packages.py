"""`flames prompts pack`, `install`, `contamination`: packages with a version, and their leaks."""

from __future__ import annotations

from typing import Annotated

import typer

from flames.cli._console import JsonOptions, present, tell
from flames.options import LangOptions
from flames.prompts.contamination import ContaminationOptions, find_contamination
from flames.prompts.pack import PackOptions, install_package, pack_prompts
from flames.prompts.sets import load_prompts
from flames.reports.contamination import contamination_document
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


def contamination(
    prompts: Annotated[
        str, typer.Argument(metavar="SET|PATH", help="Prompt set by name, a package or a file.")
    ],
    corpora: Annotated[
        list[str], typer.Argument(metavar="CORPUS", help="Files or folders of training text.")
    ],
    options: ContaminationOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Find the prompts of a set in training corpora; exit 1 if any prompt or canary is there.

    Reads JSON Lines, JSON, Parquet (extra `table`), plain text and .gz of any size, and folders.
    """
    found_set = load_prompts(prompts)
    found = find_contamination(found_set, corpora, options)
    present(output, found.to_dict(), contamination_document(found, found_set), language.lang)
    if not found.clean:
        raise typer.Exit(1)
