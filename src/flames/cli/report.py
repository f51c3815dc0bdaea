"""`flames report`: what verdicts say, for people and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flames.cli._console import say, tables
from flames.pipeline import verdicts
from flames.reports.documents import Report, ReportOptions
from flames.reports.report import print_summary


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN",
            help="Files of verdicts (the released scorer's output, too; - is standard input), "
            "run directories, labels:FILE, labels:silver, labels:natural.",
        ),
    ],
    options: ReportOptions,
) -> None:
    """Report rates, scores, intervals and coverage; for a run, also (re)write its report."""
    found = verdicts.report(paths, options)
    if options.format is None:
        given = (found.lang, found.taxonomy, found.corrections, found.beside)
        print_summary(found.results, tables(), *given)
    write_document(found, options.format, options.out)


def write_document(found: Any, form: Any, out: Path | None) -> None:
    """Prints a document in the form asked for, or says which files were written."""
    if form is not None and out is None:
        for part in found.parts(form) if isinstance(found, Report) else [found.render(form)]:
            typer.echo(part, nl=False)
    for path in found.written:
        say(str(path))
