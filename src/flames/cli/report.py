"""`flames report`: what verdicts say, for people and for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from flames import pipeline
from flames.cli._console import say, tables
from flames.reports.documents import ReportOptions
from flames.reports.report import print_summary


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN",
            help="Files of verdicts (the released scorer's output, too; - is standard input), "
            "run directories, labels:FILE or labels:silver.",
        ),
    ],
    options: ReportOptions,
) -> None:
    """Report rates, scores, intervals and coverage; for a run, also (re)write its report."""
    found = pipeline.report(paths, options)
    if options.format is None:
        print_summary(found.results, tables(), found.lang, found.taxonomy, found.corrections)
    elif options.out is None:
        typer.echo(found.render(options.format), nl=False)
    for path in found.written:
        say(str(path))
