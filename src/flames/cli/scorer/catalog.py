"""`flames scorer list` and `info`."""

from __future__ import annotations

from typing import Annotated

import typer

from flames.cli._options import JsonOption, TaxonomyOption
from flames.cli.scorer import app


@app.command("list")
def list_scorers(as_json: JsonOption = False) -> None:
    """List the kinds of scorers, those of installed packages included."""
    from flames.scorers import known_scorers
    from flames.scorers.registry import DEFAULT

    entries = list(known_scorers().values())
    if as_json:
        from flames.records import dump_line

        rows = [
            {
                "name": entry.name,
                "argument": entry.argument or None,
                "title": entry.title,
                "extra": entry.extra,
                "default": entry.name == DEFAULT,
            }
            for entry in entries
        ]
        typer.echo(dump_line(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("scorer", "what it is", "needs", box=None, header_style="bold")
    for entry in entries:
        name = f"{entry.name}:{entry.argument}" if entry.argument else entry.name
        mark = " (default)" if entry.name == DEFAULT else ""
        table.add_row(
            name + mark, entry.title, f"flames-bench[{entry.extra}]" if entry.extra else ""
        )
    Console().print(table, markup=False)


@app.command("info")
def info(
    scorer: Annotated[
        str, typer.Argument(metavar="SCORER", help="A scorer by name or path, as for --scorer.")
    ] = "default",
    path: Annotated[
        bool, typer.Option("--path", help="Only print the file of labels:… (for scripts).")
    ] = False,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a scorer is: id, training data, limits, what it reached in tests."""
    if path:
        from flames.errors import UsageError
        from flames.scorers.labels import PREFIX, labels_path

        if not scorer.startswith(PREFIX):
            raise UsageError("--path is for labels:FILE and labels:silver")
        typer.echo(str(labels_path(scorer)))
        return
    from flames.cli.scorer._load import load
    from flames.records import dump_line

    found = load(scorer, taxonomy).info
    if as_json:
        from dataclasses import asdict

        typer.echo(dump_line(asdict(found)))
        return
    from flames.text import for_terminal

    typer.echo(f"{found.id}: {found.title}")
    typer.echo(f"taxonomy: {found.taxonomy}")
    for note in found.notes:
        typer.echo(f"note: {for_terminal(note)}")
    for name, value in found.details.items():
        text = value if isinstance(value, str) else dump_line(value)
        typer.echo(f"{name}: {for_terminal(text)}")
