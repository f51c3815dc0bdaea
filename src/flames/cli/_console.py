"""What commands print on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.console import Console

from flames.cli._options import JsonOptions
from flames.records import dump_line
from flames.reports.tables import Block, print_document
from flames.taxonomy import Language
from flames.text import for_terminal

WIDE = 120
"""Width of tables in a pipe or a file, where no terminal sets one, so that names are not folded."""


def tables(*, stderr: bool = False) -> Console:
    """Returns the console of standard output (or error), at least `WIDE` if it is no terminal."""
    console = Console(stderr=stderr)
    if console.is_terminal:
        return console
    return Console(stderr=stderr, width=max(console.width, WIDE))


def echo(lines: Iterable[str]) -> None:
    """Prints lines to standard output."""
    for line in lines:
        typer.echo(for_terminal(line))


def say(message: str) -> None:
    """Prints a line for people to standard error, which leaves standard output to results."""
    typer.echo(for_terminal(message), err=True)


def show(*blocks: Block, lang: Language = "en") -> None:
    """Prints tables and lines to standard output."""
    print_document(blocks, tables(), lang)


def present(
    output: JsonOptions, data: object, blocks: Iterable[Block], lang: Language = "en"
) -> None:
    """Prints data as JSON if `--json` is given, else tables and lines."""
    if output.json:
        typer.echo(data if isinstance(data, str) else dump_line(data))
    else:
        show(*blocks, lang=lang)
