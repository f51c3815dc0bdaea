"""`flames ask`: collect a model's responses."""

from __future__ import annotations

from typing import Annotated

import typer

from flames.cli._ask_options import AskOptions, with_ask_options


@with_ask_options
def ask(
    options: AskOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print how it went as JSON, for programs.")
    ] = False,
) -> None:
    """Ask a model every prompt of a set; the responses go to a run directory, which is printed.

    Killed at any moment, it goes on with --resume and asks nothing twice.
    """
    from flames.cli._asking import ask_plan, plan
    from flames.records import dump_line
    from flames.text import for_terminal

    asked = ask_plan(plan(options), options)
    if as_json:
        standing = asked.standing
        told = {
            "run": str(asked.run.path),
            "model": asked.run.model,
            "planned": standing.planned,
            "counts": dict(standing.counts),
            "requests": standing.requests,
            "requests_earlier": standing.earlier,
            "requests_lost": standing.lost,
            "cost": standing.cost,
            "cost_lost": standing.lost_cost,
            "stopped": None if asked.stopped is None else str(asked.stopped),
        }
        typer.echo(dump_line(told))
    else:
        typer.echo(for_terminal(str(asked.run.path)))
    if failure := asked.failure():
        raise failure
