"""`flames scorer export`: write a package that runs without torch or transformers."""

from __future__ import annotations

import typer

from flames.cli._options import JsonOption, QuietOption
from flames.records import dump_line
from flames.scorers.labelled import LabelOptions
from flames.training.export import ExportOptions, export_from_files


def export(
    options: ExportOptions,
    reading: LabelOptions,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Export a scorer for fast scoring on a CPU, compared with its original."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("exporting") as status:
        if quiet or not console.is_terminal:
            status.stop()
        exported = export_from_files(options, reading, status.update)
    if as_json:
        typer.echo(dump_line(exported.to_dict()))
        return
    for line in exported.lines():
        typer.echo(line)
