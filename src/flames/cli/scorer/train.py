"""`flames scorer train`: train a scorer from labels and a pretrained backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import typer

from flames import training
from flames.cli._options import JsonOption, QuietOption
from flames.records import dump_line
from flames.scorers.labelled import LabelOptions
from flames.training import SplitOptions, TrainFiles, TrainOptions


def train(
    files: TrainFiles,
    reading: LabelOptions,
    splitting: SplitOptions,
    options: TrainOptions,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a scorer: one head per dimension on a pretrained backbone, tested on held-back data."""
    from rich.console import Console

    with _progress(quiet) as progress:
        result = training.train_from_files(
            files,
            reading,
            splitting,
            options,
            report=partial(typer.echo, err=True),
            progress=progress,
            quiet=quiet,
        )
    if result is None:
        return
    if as_json:
        typer.echo(dump_line(result.to_dict()))
        return
    if not quiet:
        result.print(Console(), "en")
    typer.echo(
        f"{files.out}: the scorer, its model card (README.md) and its figures (evaluation-*.json)"
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Shows a bar on a terminal, a line for each tenth in a log."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet:
        yield lambda what, share: None
        return
    if not console.is_terminal:
        printed: set[tuple[str, int]] = set()

        def line(what: str, share: float) -> None:
            place = what.partition(" (")[0], int(10 * share)
            if place not in printed:
                printed.add(place)
                typer.echo(f"{what}: {share:.0%}", err=True)

        yield line
        return
    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
