"""`flames compare`: models on the same prompts, pair by pair."""

from __future__ import annotations

from typing import Annotated

import typer

from flames import pipeline
from flames.cli._console import say, tables
from flames.reports.comparison import print_comparison
from flames.reports.documents import CompareOptions


def compare(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN",
            help="Files of verdicts, runs or labels:silver, the baseline first; or one file that "
            "holds several models.",
        ),
    ],
    options: CompareOptions,
) -> None:
    """Compare models on the prompts that both answered: differences, intervals, tests, changes."""
    found = pipeline.compare(paths, options)
    if options.format is None:
        few = 10 if options.changes is None else options.changes
        print_comparison(found.comparison, tables(), found.lang, found.taxonomy, changes=few)
    elif options.out is None:
        typer.echo(found.render(options.format), nl=False)
    for path in found.written:
        say(str(path))
