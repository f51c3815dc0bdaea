"""`flames scorer import`: run the released scorer on today's libraries."""

from __future__ import annotations

from functools import partial

import typer

from flames.cli._options import QuietOption
from flames.training.import_released import ImportOptions, import_released


def import_(options: ImportOptions, quiet: QuietOption = False) -> None:
    """Import the released scorer: no remote code, any transformers 5, GPU or CPU; self-test it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        folder = import_released(
            options,
            report=partial(typer.echo, err=True),
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )
    typer.echo(folder)
