"""`flames scorer spent`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flames.cli._options import JsonOption
from flames.cli.scorer import app

if TYPE_CHECKING:
    from flames.analysis.cost import Spending
    from flames.records import Verdict


@app.command("spent")
def spent(
    target: Annotated[
        str,
        typer.Argument(metavar="FILE|RUN", help="Verdicts that `flames score` wrote, or a run."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Tell who decided how many responses and what it took: requests, tokens, time, cost."""
    from flames.analysis.cost import measure_spending
    from flames.errors import InputError

    found = measure_spending(_verdicts(target))
    if not found:
        raise InputError("holds no verdicts", path=target)
    if as_json:
        from flames.records import dump_line

        typer.echo(dump_line([each.model_dump() for each in found]))
        return
    from rich.table import Table

    from flames.cli._console import tables

    table = Table(box=None, header_style="bold")
    table.add_column("scorer", overflow="fold")
    for name in ("asked", "decided", "unscored", "requests", "tokens in", "out", "wait s", "cost"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(*_row(each, ""))
        for step in each.steps:
            table.add_row(*_row(step, "  "))
    tables().print(table, markup=False)
    for each in found:
        if each.unscored:
            told = ", ".join(f"{reason} {n}" for reason, n in each.unscored.items())
            from flames.text import for_terminal

            typer.echo(for_terminal(f"{each.scorer} unscored: {told}"))


def _verdicts(target: str) -> list[Verdict]:
    from flames.storage.record_files import read_verdicts

    paths = [target]
    if Path(target).is_dir():
        from flames.storage.run_dir import open_run

        paths = [str(path) for path in open_run(target).verdict_files().values()]
    return [verdict for path in paths for verdict in read_verdicts(path)]


def _row(each: Spending, indent: str) -> list[str]:
    from flames.text import for_terminal

    return [
        indent + for_terminal(each.scorer),
        str(each.asked),
        str(each.decided),
        str(sum(each.unscored.values())),
        str(each.requests),
        str(each.tokens_in),
        str(each.tokens_out),
        f"{each.latency_s:.1f}",
        "–" if each.cost is None else f"{each.cost:.6g}",
    ]
