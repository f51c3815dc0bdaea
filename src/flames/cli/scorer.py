"""`flames scorer list`, `info`, `selftest` and `spent`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flames.analysis.cost import spending_of
from flames.cli._console import JsonOptions, echo, present
from flames.errors import UsageError
from flames.options import LangOptions
from flames.records import dump_line
from flames.reports.scorers import info_lines, kinds_table, selftest_lines, spending_document
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.options import InfoOptions, load_with
from flames.scorers.registry import DEFAULT, known_scorers
from flames.scorers.selftest import SelftestOptions, selftest_with


def list_scorers(language: LangOptions, output: JsonOptions) -> None:
    """List the kinds of scorers, those of installed packages included."""
    entries = list(known_scorers().values())
    data = [
        {
            "name": entry.name,
            "argument": entry.argument or None,
            "title": entry.title,
            "extra": entry.extra,
            "default": entry.name == DEFAULT,
        }
        for entry in entries
    ]
    present(output, data, [kinds_table(entries)], language.lang)


def info(options: InfoOptions, output: JsonOptions) -> None:
    """Describe a scorer: id, training data, limits, test results."""
    if options.path:
        if not options.scorer.startswith(PREFIX):
            raise UsageError("--path is for labels:FILE and labels:silver")
        typer.echo(str(labels_path(options.scorer)))
        return
    # One that fails its self-test is described as well, with a note.
    described = load_with(options.scorer, {"ignore_selftest": True}, options.taxonomy).info
    if output.json:
        notes = [note.to_dict() for note in described.notes]
        typer.echo(dump_line({**asdict(described), "notes": notes}))
    else:
        echo(info_lines(described))


def selftest(options: SelftestOptions, output: JsonOptions) -> None:
    """Test whether a scorer judges clear-cut pairs right; exit 1 if it does not."""
    result = selftest_with(options)
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
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Show who decided how many responses, and the requests, tokens, time and cost."""
    spendings = spending_of(target)
    data = [spending.model_dump() for spending in spendings]
    present(output, data, spending_document(spendings), language.lang)
