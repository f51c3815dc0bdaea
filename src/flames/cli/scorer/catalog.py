"""`flames scorer list` and `info`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from flames.cli._options import JsonOption, TaxonomyOption
from flames.cli.scorer import app


@app.command("list")
def list_scorers(as_json: JsonOption = False) -> None:
    """List the kinds of scorers, those of installed packages included."""
    from flames.scorers.registry import DEFAULT, known_scorers

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
    from rich.table import Table

    from flames.cli._console import tables

    table = Table("scorer", "what it is", "needs", box=None, header_style="bold")
    for entry in entries:
        name = f"{entry.name}:{entry.argument}" if entry.argument else entry.name
        mark = " (default)" if entry.name == DEFAULT else ""
        table.add_row(name + mark, entry.title, f"the extra `{entry.extra}`" if entry.extra else "")
    tables().print(table, markup=False)


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

    found = load(
        scorer, taxonomy, {"ignore_selftest": True}
    ).info  # a note tells of a failed self-test
    if as_json:
        from dataclasses import asdict

        from flames.records import dump_line

        typer.echo(dump_line({**asdict(found), "notes": [note.to_dict() for note in found.notes]}))
        return
    from flames.text import for_terminal

    typer.echo(f"{found.id}: {found.title}")
    typer.echo(f"taxonomy: {found.taxonomy}")
    for note in found.notes:
        typer.echo(f"note: {for_terminal(str(note))}")
    for line in _told(found.details):
        typer.echo(for_terminal(line))


def _told(details: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Details as lines: what holds more of them indented below its name."""
    from flames.records import dump_line

    for name, value in details.items():
        if not isinstance(value, Mapping):
            text = value if isinstance(value, str) else dump_line(value)
            yield f"{indent}{name}: {text}"
        elif any(isinstance(each, Mapping | list) for each in value.values()):
            yield f"{indent}{name}:"
            yield from _told(value, indent + "  ")
        else:
            yield f"{indent}{name}: " + ", ".join(f"{n} {each}" for n, each in value.items())
