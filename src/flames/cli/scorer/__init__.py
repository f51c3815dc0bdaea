"""`flames scorer`: what judges responses. Each module adds its commands to `app`."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, train, test and convert scorers.", no_args_is_help=True)

from flames.cli.scorer import catalog  # noqa: E402, F401  (modules register their commands)
