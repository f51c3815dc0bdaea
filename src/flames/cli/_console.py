"""What commands print on the terminal, and the options for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flames.options import Opt
from flames.records import dump_line
from flames.reports.printing import print_document
from flames.reports.tables import Block
from flames.taxonomy import Language
from flames.text import for_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


@dataclass(frozen=True)
class QuietOptions:
    """Whether progress is shown."""

    quiet: Annotated[bool, Opt("Print only results and errors, no progress.", short="-q")] = False


@dataclass(frozen=True)
class JsonOptions:
    """Whether the output is for programs."""

    json: Annotated[bool, Opt("Print JSON for programs.")] = False


def tables(*, stderr: bool = False) -> Console:
    """Returns the console of standard output (or error); in a pipe no name is folded."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    return console


def progress_bar(quiet: bool, *columns: str | ProgressColumn) -> Progress:
    """Returns a bar on standard error, disabled in a pipe; it counts by default."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    counting = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    off = quiet or not console.is_terminal
    return Progress(*(columns or counting), console=console, disable=off, transient=True)


def echo(lines: Iterable[str]) -> None:
    """Prints lines to standard output."""
    for line in lines:
        typer.echo(for_terminal(line))


def say(message: str) -> None:
    """Prints a line for people to standard error, which leaves standard output to results."""
    typer.echo(for_terminal(message), err=True)


def show(*blocks: Block, lang: Language = "en") -> None:
    """Prints tables and lines to standard output; in a pipe a line stays one line."""
    console = tables()
    print_document(blocks, console, lang, fold=console.is_terminal)


def tell(output: JsonOptions, data: object, lines: Iterable[str]) -> None:
    """Prints data as JSON if `--json` is given, else the lines."""
    if output.json:
        typer.echo(dump_line(data))
    else:
        echo(lines)


def present(
    output: JsonOptions, data: object, blocks: Iterable[Block], lang: Language = "en"
) -> None:
    """Prints data as JSON if `--json` is given, else tables and lines."""
    if output.json:
        typer.echo(data if isinstance(data, str) else dump_line(data))
    else:
        show(*blocks, lang=lang)
