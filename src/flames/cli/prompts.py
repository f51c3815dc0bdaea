"""`flames prompts`: the sets of prompts that models are asked."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, show, check and fetch prompt sets.", no_args_is_help=True)


@app.command("list")
def list_sets() -> None:
    """List the known prompt sets."""
