"""Options and words that the commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from flames.annotation import Project
    from flames.metrics.result import Estimate

ProjectArgument = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="The project's folder.", show_default=False)
]
UrlOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--url",
        metavar="URL",
        help="How people reach the server; personal links begin with it. What `init` was told, "
        "or http://127.0.0.1:8400, unless given.",
    ),
]
DEFAULT_URL = "http://127.0.0.1:8400"


@contextmanager
def opened(path: Path) -> Iterator[Project]:
    """An open project."""
    from flames.annotation import open_project

    with open_project(path) as project:
        yield project


def public(url: str | None) -> str | None:
    """The beginning of personal links, if it was given."""
    from flames.annotation import web

    return None if url is None else web.checked_url(url)


def personal_link(project: Project, base: str | None, token: str) -> str:
    """A personal link, by the address that was given, or that the project knows."""
    return f"{base or project.public_url or DEFAULT_URL}/join/{token}"


def say(message: str) -> None:
    """A line for people, beside what standard output is for."""
    from flames.text import for_terminal

    typer.echo(for_terminal(message), err=True)


def safe(text: object) -> Any:
    """Untrusted text for a table: no colours, no markup."""
    from rich.text import Text

    from flames.text import for_terminal

    return Text(for_terminal(str(text)))


def table(title: str, *columns: str) -> Table:
    """An empty table; columns that begin with `#` hold numbers. The first keeps room for a name."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_header=any(columns), pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column in columns:
        right = column.startswith("#")
        made.add_column(
            column.removeprefix("#"), justify="right" if right else "left", overflow="fold",
            min_width=None if made.columns else 16,
        )  # fmt: skip
    return made


def show(*shown: Table) -> None:
    """Prints tables."""
    from flames.cli._console import tables

    for each in shown:
        tables().print(each)


def estimate(value: Estimate | None, digits: int = 2) -> str:
    """A value with its interval."""
    if value is None:
        return "–"
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
