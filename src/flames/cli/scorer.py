"""`flames scorer`: list, test, evaluate and calibrate scorers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from flames.analysis.cost import spending_of
from flames.analysis.evaluate import EvaluateOptions, evaluate_with
from flames.analysis.probe import ProbeOptions, probe_with
from flames.cli._console import echo, say, show
from flames.cli._options import JsonOptions, QuietOptions, ShowOptions
from flames.errors import UsageError
from flames.records import dump_line
from flames.reports.evaluation import EvaluationForm, print_evaluations, render
from flames.reports.scorers import (
    calibration_lines,
    info_lines,
    kinds_table,
    probe_document,
    selftest_lines,
    spending_document,
)
from flames.scorers.calibration import CalibrateOptions, calibrate_with
from flames.scorers.labelled import LabelOptions
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.options import ScorerOptions, TrainedOptions, load_with
from flames.scorers.registry import DEFAULT, known_scorers
from flames.scorers.selftest import SelftestOptions, selftest_with
from flames.storage.atomic import write_atomic
from flames.storage.record_files import TaxonomyOptions
from flames.taxonomy import load_taxonomy
from flames.text import shorten


def list_scorers(output: JsonOptions) -> None:
    """List the kinds of scorers, those of installed packages included."""
    entries = list(known_scorers().values())
    if not output.json:
        show(kinds_table(entries))
        return
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


def info(
    taxonomy: TaxonomyOptions,
    output: JsonOptions,
    scorer: Annotated[
        str, typer.Argument(metavar="SCORER", help="A scorer by name or path, as for --scorer.")
    ] = DEFAULT,
    path: Annotated[
        bool, typer.Option("--path", help="Print only the file behind labels:FILE, for scripts.")
    ] = False,
) -> None:
    """Describe a scorer: id, training data, limits, test results."""
    if path:
        if not scorer.startswith(PREFIX):
            raise UsageError("--path is for labels:FILE and labels:silver")
        typer.echo(str(labels_path(scorer)))
        return
    # One that fails its self-test is described as well, with a note.
    found = load_with(scorer, {"ignore_selftest": True}, taxonomy.taxonomy).info
    if output.json:
        typer.echo(dump_line({**asdict(found), "notes": [note.to_dict() for note in found.notes]}))
    else:
        echo(info_lines(found))


def selftest(
    options: SelftestOptions, given: ScorerOptions, taxonomy: TaxonomyOptions, output: JsonOptions
) -> None:
    """Test whether a scorer judges clear-cut pairs right; exit 1 if it does not."""
    result = selftest_with(options, given.given(), taxonomy.taxonomy)
    if output.json:
        typer.echo(dump_line(result.to_dict()))
    else:
        echo(selftest_lines(result))
    if not result.passed:
        raise typer.Exit(1)


def spent(
    target: Annotated[
        str,
        typer.Argument(metavar="FILE|RUN", help="Verdicts that `flames score` wrote, or a run."),
    ],
    output: JsonOptions,
) -> None:
    """Show who decided how many responses, and the requests, tokens, time and cost."""
    found = spending_of(target)
    if output.json:
        typer.echo(dump_line([spending.model_dump() for spending in found]))
    else:
        show(*spending_document(found))


def evaluate(
    options: EvaluateOptions,
    reading: LabelOptions,
    given: TrainedOptions,
    form: EvaluationForm,
    output: ShowOptions,
) -> None:
    """Evaluate scorers against labels: accuracy, F1, kappa, calibration, bias, model ranking."""
    if output.json:
        form = replace(form, format="json")
    with _bars(output.quiet) as progress:
        found = evaluate_with(options, reading, given.given(), progress=progress)
    taxonomy = load_taxonomy(reading.taxonomy)
    if form.format is None:
        print_evaluations(found, Console(), taxonomy, output.lang)
        return
    text = render(found, form.format, taxonomy, output.lang)
    if form.out is None:
        typer.echo(text, nl=False)
        return
    write_atomic(form.out, text)
    if not output.quiet:
        say(str(form.out))


@contextmanager
def _bars(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a progress bar per scorer on a terminal, and nothing in a pipe."""
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, transient=True) as bar:
        tasks = {}

        def progress(scorer: str, total: int, done: int) -> None:
            if scorer not in tasks:
                name = shorten(scorer, 30).replace("[", r"\[")
                tasks[scorer] = bar.add_task(name, total=total)
            bar.update(tasks[scorer], completed=done)

        yield progress


def probe(
    options: ProbeOptions,
    given: ScorerOptions,
    taxonomy: TaxonomyOptions,
    output: JsonOptions,
    quiet: QuietOptions,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the report as JSON.")
    ] = None,
) -> None:
    """Probe a scorer for bias: how often its verdict flips when nothing that matters changes."""
    report = probe_with(
        options,
        given.given(),
        taxonomy.taxonomy,
        progress=lambda done: None if quiet.quiet else say(f"{done} scored"),
    )
    text = dump_line(report.to_dict())
    if out is not None:
        write_atomic(out, text + "\n")
    if output.json:
        typer.echo(text)
    else:
        show(*probe_document(report))


def calibrate(
    options: CalibrateOptions,
    given: ScorerOptions,
    taxonomy: TaxonomyOptions,
    output: JsonOptions,
    quiet: QuietOptions,
) -> None:
    """Calibrate a scorer's probabilities on labels; use the file as --scorer calibrated:FILE."""
    calibration = calibrate_with(options, given.given(), taxonomy.taxonomy)
    if output.json:
        typer.echo(calibration.to_json(), nl=False)
        return
    echo(calibration_lines(calibration))
    if not quiet.quiet:
        say(str(options.out))
