"""`flames scorer train`, `export` and `import`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.progress import BarColumn, TaskProgressColumn, TimeRemainingColumn

from flames import training
from flames.cli._console import JsonOptions, QuietOptions, progress_bar, say, tables, tell
from flames.records import dump_line
from flames.scorers.labelled import LabelOptions
from flames.training import SplitOptions, TrainFiles, TrainOptions
from flames.training.export import ExportOptions, export_from_files
from flames.training.import_released import ImportOptions, import_released


def train(
    files: TrainFiles,
    reading: LabelOptions,
    splitting: SplitOptions,
    options: TrainOptions,
    output: JsonOptions,
    quiet: QuietOptions,
) -> None:
    """Train a scorer: one head per dimension on a pretrained backbone, tested on held-back data."""
    with _progress(quiet.quiet, log=True) as progress:
        result = training.train_from_files(
            files, reading, splitting, options, report=say, progress=progress, quiet=quiet.quiet
        )
    if result is None:
        return
    if output.json:
        typer.echo(dump_line(result.to_dict()))
        return
    if not quiet.quiet:
        result.print(tables(), "en")
    kept = "the scorer, its model card (README.md) and its figures (evaluation-*.json)"
    typer.echo(f"{files.out}: {kept}")


def export(
    options: ExportOptions, reading: LabelOptions, output: JsonOptions, quiet: QuietOptions
) -> None:
    """Export a scorer for fast scoring on a CPU, compared with its original."""
    with _progress(quiet.quiet, log=True) as progress:
        exported = export_from_files(options, reading, progress)
    tell(output, exported.to_dict(), exported.lines())


def import_scorer(options: ImportOptions, quiet: QuietOptions) -> None:
    """Import the released scorer: no remote code, any transformers 5, GPU or CPU; self-test it."""
    with _progress(quiet.quiet) as progress:
        folder = import_released(options, report=say, progress=progress)
    typer.echo(folder)


@contextmanager
def _progress(quiet: bool, *, log: bool = False) -> Iterator[Callable[[str, float], None]]:
    """Shows a bar on a terminal; with `log` a line for each tenth elsewhere."""
    printed: set[tuple[str, int]] = set()

    def report(what: str, share: float) -> None:
        step = what.partition(" (")[0], int(10 * share)
        if log and step not in printed:
            printed.add(step)
            say(f"{what}: {share:.0%}")

    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with progress_bar(quiet, *columns) as bar:
        if bar.disable:
            yield (lambda what, share: None) if quiet else report
            return
        task = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
