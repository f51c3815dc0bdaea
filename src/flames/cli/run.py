"""`flames run`: ask, score and report in one go."""

from __future__ import annotations

from functools import partial

import typer

from flames import pipeline
from flames.cli._console import ShowOptions, tables
from flames.cli.ask import talking, watch
from flames.collect.engine import AskSettings
from flames.collect.plan import AskOptions
from flames.models.base import Sampling
from flames.models.load import ModelOptions
from flames.reports.report import print_summary, render_json
from flames.scorers.options import ScoringOptions
from flames.text import for_terminal


def run(
    asking: AskOptions,
    reach: ModelOptions,
    sampling: Sampling,
    settings: AskSettings,
    scoring: ScoringOptions,
    show: ShowOptions,
) -> None:
    """Ask a model every prompt of a set, score the responses, measure and report.

    If it is killed at any moment, --resume continues it and asks nothing twice.
    """
    done = pipeline.run(
        **vars(asking),
        options=talking(reach),
        sampling=sampling,
        settings=settings,
        **vars(scoring),
        lang=show.lang,
        watch=partial(watch, quiet=show.quiet),
    )
    if not show.quiet:
        print_summary(done.results, tables(stderr=show.json), show.lang, done.run.taxonomy)
    for path in done.reports:
        typer.echo(for_terminal(str(path)), err=show.json)
    if show.json:
        typer.echo(render_json(done.results), nl=False)
    done.check()
