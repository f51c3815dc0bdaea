"""`flames scorer`: what scorers there are, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flames.analysis.cards import CardOptions, card_of, write_cards
from flames.analysis.cost import spending_of
from flames.analysis.evaluate_scorers import EvaluateOptions, evaluate_with
from flames.analysis.probe import ProbeOptions, probe_with
from flames.cli._console import JsonOptions, QuietOptions, echo, present, progress_bar, say, tell
from flames.errors import UsageError
from flames.options import LangOptions
from flames.records import dump_line
from flames.reports.evaluation import EvaluationForm, print_evaluations, render
from flames.reports.scorers import (
    calibration_lines,
    card_document,
    info_lines,
    kinds_table,
    probe_document,
    selftest_lines,
    spending_document,
)
from flames.scorers.calibration import CalibrateOptions, calibrate_with
from flames.scorers.labelled import LabelOptions
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.options import InfoOptions, load_with
from flames.scorers.registry import default_scorer, known_scorers
from flames.scorers.selftest import SelftestOptions, selftest_with
from flames.storage.atomic import write_atomic
from flames.taxonomy import load_taxonomy
from flames.text import shorten


def list_scorers(language: LangOptions, output: JsonOptions) -> None:
    """List the kinds of scorers, those of installed packages included."""
    entries = list(known_scorers().values())
    data = [
        {
            "name": entry.name,
            "argument": entry.argument or None,
            "title": entry.title,
            "extra": entry.extra,
            "default": entry.name == default_scorer(),
        }
        for entry in entries
    ]
    present(output, data, [kinds_table(entries)], language.lang)


def info(options: InfoOptions, output: JsonOptions) -> None:
    """Describe a scorer: id, training data, limits, test results."""
    if options.path:
        if not options.scorer.startswith(PREFIX):
            raise UsageError("--path is for labels:FILE, labels:silver and labels:natural")
        typer.echo(str(labels_path(options.scorer)))
        return
    # One that fails its self-test is described as well, with a note.
    described = load_with(options.scorer, {"ignore_selftest": True}, options.taxonomy).info
    notes = [note.to_dict() for note in described.notes]
    told = {**asdict(described), "notes": notes, "reads": sorted(described.reads)}
    tell(output, told, info_lines(described))


def card(options: CardOptions, language: LangOptions, output: JsonOptions) -> None:
    """Show a scorer's card: what it was right on, on whose labels, and what may be claimed."""
    scorer_id, found = card_of(options)
    data = found.model_dump(by_alias=True) if found else {"schema": 1, "scorer": scorer_id}
    present(output, data, card_document(scorer_id, found), language.lang)


def selftest(options: SelftestOptions, output: JsonOptions) -> None:
    """Test whether a scorer judges clear-cut pairs right; exit 1 if it does not."""
    result = selftest_with(options)
    tell(output, result.to_dict(), selftest_lines(result))
    if not result.passed:
        raise typer.Exit(1)


def spent(
    target: Annotated[
        str,
        typer.Argument(metavar="FILE|RUN", help="Verdicts that `flames score` wrote, or a run."),
    ],
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Show who decided how many responses, and the requests, tokens, time and cost."""
    spendings = spending_of(target)
    data = [spending.model_dump() for spending in spendings]
    present(output, data, spending_document(spendings), language.lang)


def evaluate(
    options: EvaluateOptions, reading: LabelOptions, form: EvaluationForm, quiet: QuietOptions
) -> None:
    """Evaluate scorers against labels: accuracy, F1, kappa, calibration, bias, model ranking."""
    with _bars(quiet.quiet) as progress:
        evaluations = evaluate_with(options, reading, progress=progress)
    if options.write_card:
        for path in write_cards(evaluations, options.scorers, options.card_out):
            say(str(path))
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
