"""Which command stands under which name."""

from __future__ import annotations

import typer

from flames.cli import prompts


def register(app: typer.Typer) -> None:
    """Adds every command to the app, in the order in which help lists them."""
    app.add_typer(prompts.app, name="prompts")
