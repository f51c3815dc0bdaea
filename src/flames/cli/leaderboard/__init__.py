"""`flames leaderboard`: published and measured results. Each module adds its commands to `app`."""

from __future__ import annotations

import typer

app = typer.Typer(help="Show, audit and build leaderboards.", no_args_is_help=True)

from flames.cli.leaderboard import (  # noqa: E402  (modules register their commands)
    show_audit,  # noqa: F401
    site,  # noqa: F401
)
