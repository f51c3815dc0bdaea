"""`flames compare`, `trend`, `certify`: several runs, or a run and people."""

from __future__ import annotations

from typing import Annotated

import typer

from flames.cli._console import tables
from flames.cli.report import write_document
from flames.pipeline import comparing
from flames.reports.certificate import CertifyOptions
from flames.reports.comparison import print_comparison
from flames.reports.comparison_document import CompareOptions
from flames.reports.trend import TrendOptions


def compare(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN",
            help="Files of verdicts, runs, labels:silver or labels:natural, the baseline first; "
            "or one file that holds several models.",
        ),
    ],
    options: CompareOptions,
) -> None:
    """Compare models on the prompts that both answered: differences, intervals, tests, changes."""
    found = comparing.compare(paths, options)
    if options.format is None:
        few = 10 if options.changes is None else options.changes
        print_comparison(found.comparison, tables(), found.lang, found.taxonomy, changes=few)
    write_document(found, options.format, options.out)


def trend(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|FILE", help="Runs or files of verdicts, one per checkpoint, in order."
        ),
    ],
    options: TrendOptions,
) -> None:
    """Show checkpoints in a row: values with intervals, and between which of them they changed."""
    found = comparing.trend(paths, options)
    if options.format is None:
        found.print(tables())
    write_document(found, options.format, options.out)


def certify(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="RUN|FILE", help="Runs, or files of comparing."),
    ],
    options: CertifyOptions,
) -> None:
    """Certify a run with labels by people: what may be claimed, how right the scorer is."""
    found = comparing.certify(paths, options)
    if options.format is None:
        found.print(tables())
    write_document(found, options.format, options.out)
