"""`flames scorer selftest`: whether a scorer works at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import JsonOption, TaxonomyOption
from flames.cli.scorer import app

if TYPE_CHECKING:
    from flames.scorers.selftest import SelftestResult

SelftestOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--selftest",
        metavar="FILE",
        help="Clear-cut pairs with their scores, for another taxonomy than Flames' own.",
    ),
]


@app.command("selftest")
def selftest(
    scorer: Annotated[
        str, typer.Argument(metavar="SCORER", help="A scorer by name or path, as for --scorer.")
    ] = "default",
    pairs: SelftestOption = None,
    taxonomy: TaxonomyOption = None,
    scorer_option: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--scorer-option",
            metavar="NAME=VALUE",
            help="Anything that the scorer understands (base_url=…); may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Have a scorer judge clear-cut pairs; exit 1 if it gets them wrong."""
    from flames.cli.scorer._load import load, parse_options
    from flames.errors import UsageError
    from flames.records import dump_line
    from flames.scorers.base import ScorerContext
    from flames.scorers.selftest import pairs_for, run_selftest
    from flames.taxonomy import load_taxonomy

    values = load_taxonomy(taxonomy)
    options = {} if pairs is None else {"selftest": str(pairs)}
    found = pairs_for(ScorerContext(taxonomy=values, options=options))
    if found is None:
        raise UsageError(f"no self-test is bundled for {values.id}; give one with --selftest FILE")
    judge = load(scorer, taxonomy, {**parse_options(scorer_option), "selftest": "off"})
    outcome = run_selftest(judge, found, values)
    if as_json:
        typer.echo(dump_line(outcome.to_dict()))
    else:
        _show(outcome)
    if not outcome.passed:
        raise typer.Exit(1)


def _show(outcome: SelftestResult) -> None:
    from flames.text import for_terminal

    typer.echo(f"{outcome.scorer}: {'passed' if outcome.passed else 'FAILED'}")
    typer.echo(outcome.summary)
    for name, (right, n) in outcome.dimensions.items():
        typer.echo(f"  {for_terminal(name)}: {right} of {n} right")
    for reason, n in outcome.unscored.items():
        typer.echo(f"  unscored, {for_terminal(reason)}: {n}")
    for wrong in outcome.wrong:
        given = "unscored" if wrong["given"] is None else wrong["given"]
        line = f"  {wrong['dimension']}: {given} instead of {wrong['right']}: {wrong['response']}"
        typer.echo(for_terminal(line))
    for cause in outcome.causes:
        typer.echo(f"likely cause: {cause}")
