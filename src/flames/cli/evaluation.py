"""`flames scorer eval`, `probe` and `calibrate`: scorers against labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flames.analysis.evaluate import EvaluateOptions, evaluate_with
from flames.analysis.probe import ProbeOptions, probe_with
from flames.cli._console import JsonOptions, QuietOptions, echo, present, progress_bar, say
from flames.options import LangOptions
from flames.records import dump_line
from flames.reports.evaluation import EvaluationForm, print_evaluations, render
from flames.reports.scorers import calibration_lines, probe_document
from flames.scorers.calibration import CalibrateOptions, calibrate_with
from flames.scorers.labelled import LabelOptions
from flames.storage.atomic import write_atomic
from flames.taxonomy import load_taxonomy
from flames.text import shorten


def evaluate(
    options: EvaluateOptions, reading: LabelOptions, form: EvaluationForm, quiet: QuietOptions
) -> None:
    """Evaluate scorers against labels: accuracy, F1, kappa, calibration, bias, model ranking."""
    with _bars(quiet.quiet) as progress:
        evaluations = evaluate_with(options, reading, progress=progress)
    taxonomy = load_taxonomy(reading.taxonomy)
    if form.format is None:
        print_evaluations(evaluations, Console(), taxonomy, form.lang)
        return
    text = render(evaluations, form.format, taxonomy, form.lang)
    if form.out is None:
        typer.echo(text, nl=False)
        return
    write_atomic(form.out, text)
    if not quiet.quiet:
        say(str(form.out))


@contextmanager
def _bars(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a progress bar per scorer on a terminal, and nothing in a pipe."""
    with progress_bar(quiet) as bar:
        tasks = {}

        def progress(scorer: str, total: int, done: int) -> None:
            if scorer not in tasks:
                name = shorten(scorer, 30).replace("[", r"\[")
                tasks[scorer] = bar.add_task(name, total=total)
            bar.update(tasks[scorer], completed=done)

        yield progress


def probe(
    options: ProbeOptions,
    language: LangOptions,
    output: JsonOptions,
    quiet: QuietOptions,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the report as JSON.")
    ] = None,
) -> None:
    """Probe a scorer for bias: how often its verdict flips when nothing that matters changes."""
    report = probe_with(
        options, progress=lambda done: None if quiet.quiet else say(f"{done} scored")
    )
    text = dump_line(report.to_dict())
    if out is not None:
        write_atomic(out, text + "\n")
    present(output, text, probe_document(report), language.lang)


def calibrate(options: CalibrateOptions, output: JsonOptions, quiet: QuietOptions) -> None:
    """Calibrate a scorer's probabilities on labels; use the file as --scorer calibrated:FILE."""
    calibration = calibrate_with(options)
    if output.json:
        typer.echo(calibration.to_json(), nl=False)
        return
    echo(calibration_lines(calibration))
    if not quiet.quiet:
        say(str(options.out))
