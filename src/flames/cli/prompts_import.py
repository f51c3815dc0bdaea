"""`flames prompts import`: prompt sets of others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flames.cli._console import JsonOptions, present
from flames.errors import UsageError
from flames.options import LangOptions
from flames.prompts.import_map import importer_names, importer_path, load_map
from flames.prompts.import_options import ImportOptions, run_import
from flames.reports.prompt_import import import_document, importers_table
from flames.storage.text_files import read_text
from flames.taxonomy import default_taxonomy, load_taxonomy


def import_set(
    options: ImportOptions,
    language: LangOptions,
    output: JsonOptions,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An importer; without one, lists them all.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the importer's mapping, to change and --map it.")
    ] = False,
) -> None:
    """Import a prompt set of others; every row is kept or counted with the reason.

    Where nothing is fetched by itself, --from names the publisher's file, folder or archive.
    """
    if name is None:
        if options.source is not None:
            names = ", ".join(importer_names())
            raise UsageError(f"name the importer: {names} (`table` is for any other file)")
        specs = [load_map(importer_path(each), default_taxonomy()) for each in importer_names()]
        fields = ("name", "title", "licence", "repository", "commit", "files")
        data: list[dict[str, Any]] = [
            {f: getattr(spec, f) or None for f in fields} for spec in specs
        ]
        present(output, data, [importers_table(specs)], language.lang)
        return
    if show:
        typer.echo(read_text(importer_path(name)), nl=False)
        return
    done, out = run_import(name, options)
    data_out = done.to_dict() | {"out": str(out) if done.prompts else None}
    present(
        output, data_out, import_document(done, out, load_taxonomy(options.taxonomy)), language.lang
    )
    if not done.prompts:
        raise UsageError("no row became a prompt; --own-classes FILE keeps the source's classes")
