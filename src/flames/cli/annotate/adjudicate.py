"""`flames annotate adjudicate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import JsonOption
from flames.cli.annotate._shared import ProjectArgument

if TYPE_CHECKING:
    from flames.annotation import Project


def adjudicate(
    project: ProjectArgument,
    person: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--as", metavar="NAME", help="The adjudicator or lead who decides."),
    ] = None,
    item: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--item", metavar="ITEM", help="The item to decide, as the list names it."),
    ] = None,
    score: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--score", metavar="N", help="The decision: a score, or none."),
    ] = None,
    reason: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--reason", metavar="TEXT", help="Why."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the items that people differ on, without names; or decide one of them."""
    from flames.cli.annotate._shared import opened
    from flames.errors import UsageError

    given = [option is not None for option in (person, item, score, reason)]
    if any(given) and not all(given):
        raise UsageError("a decision needs --as, --item, --score and --reason")
    with opened(project) as found:
        if person is None or item is None or score is None or reason is None:
            _show(found, json)
        else:
            _decide(found, person, item, score, reason)


def _decide(project: Project, name: str, item: str, score: str, reason: str) -> None:
    from flames.annotation import adjudication, people
    from flames.cli.annotate._shared import say
    from flames.errors import UsageError

    if score != "none" and not score.isdecimal():
        raise UsageError(f"--score takes a number or none, not {score!r}")
    with project.database.read() as connection:
        who = people.get_person(connection, name)
    if who.role == "annotator" or not who.active:
        raise UsageError(f"{who.name} may not adjudicate")
    number = None if score == "none" else int(score)
    adjudication.decide_item(project, who.id, item, score=number, reason=reason)
    say(f"{item}: {score}")


def _show(project: Project, json: bool) -> None:
    from flames.annotation import adjudication
    from flames.cli.annotate._shared import safe, show, table
    from flames.records import dump_line
    from flames.text import shorten

    cases = adjudication.open_cases(project)
    if json:
        typer.echo(dump_line([case.to_dict() for case in cases]))
        return
    made = table(f"{len(cases)} to decide", "item", "dimension", "said", "prompt")
    for case in cases:
        said = ", ".join(str(o.score) if o.score is not None else o.answer for o in case.opinions)
        made.add_row(
            safe(case.ref), safe(case.dimension.name), said,
            safe(shorten(case.response.prompt or "", 50)),
        )  # fmt: skip
    show(made)
