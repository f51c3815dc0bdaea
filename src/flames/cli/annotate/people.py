"""`flames annotate user`: who takes part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flames.cli._options import JsonOption
from flames.cli.annotate._shared import ProjectArgument, UrlOption

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(help="Add people, renew their links, keep them out.", no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The person's name.", show_default=False)
]


@app.command("add")
def add(
    project: ProjectArgument,
    name: NameArgument,
    role: Annotated[
        str, typer.Option("--role", help="annotator, adjudicator or lead.")
    ] = "annotator",
    url: UrlOption = None,
) -> None:
    """Add somebody and print their personal link."""
    from typing import cast

    from flames.annotation import people
    from flames.cli.annotate._shared import opened, personal_link, public

    base = public(url)
    with opened(project) as found, found.database.write() as connection:
        person = people.add_person(connection, found, name, cast("people.Role", role))
        token = people.new_link(connection, found, person)
        made = personal_link(found, base, token)
    typer.echo(made)


@app.command("list")
def list_people(project: ProjectArgument, json: JsonOption = False) -> None:
    """List who takes part."""
    from flames.annotation import people
    from flames.cli.annotate._shared import opened, safe, show, table
    from flames.records import dump_line

    with opened(project) as found, found.database.read() as connection:
        everybody = people.all_people(connection)
    if json:
        typer.echo(dump_line([person._asdict() for person in everybody]))
        return
    made = table("People", "name", "role", "", "signs in by")
    for person in everybody:
        ways = [
            w for w, has in (("link", person.has_link), ("password", person.has_password)) if has
        ]
        made.add_row(
            safe(person.name),
            person.role,
            "" if person.active else "stopped",
            ", ".join(ways) or "–",
        )
    show(made)


@app.command("link")
def link(project: ProjectArgument, name: NameArgument, url: UrlOption = None) -> None:
    """Print a new personal link; the old one stops working."""
    from flames.annotation import people
    from flames.cli.annotate._shared import opened, personal_link, public

    base = public(url)
    with opened(project) as found, found.database.write() as connection:
        person = people.get_person(connection, name)
        token = people.new_link(connection, found, person)
        made = personal_link(found, base, token)
    typer.echo(made)


@app.command("password")
def password(project: ProjectArgument, name: NameArgument) -> None:
    """Set a password: asked for on a terminal, or read from standard input."""
    import sys

    from flames.annotation import people
    from flames.cli.annotate._shared import opened, say

    if sys.stdin.isatty():
        text = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    with opened(project) as found, found.database.write() as connection:
        person = people.get_person(connection, name)
        people.set_password(connection, found, person, text)
    say(f"{person.name} has a password now")


@app.command("stop")
def stop(project: ProjectArgument, name: NameArgument) -> None:
    """Keep somebody out; their labels stay."""
    _set_active(project, name, False)


@app.command("resume")
def resume(project: ProjectArgument, name: NameArgument) -> None:
    """Let somebody in again."""
    _set_active(project, name, True)


def _set_active(project: Path, name: str, active: bool) -> None:
    from flames.annotation import people
    from flames.cli.annotate._shared import opened, say

    with opened(project) as found, found.database.write() as connection:
        person = people.get_person(connection, name)
        people.set_active(connection, found, person, active)
    say(f"{person.name} may sign in again" if active else f"{person.name} is kept out")
