"""Which command stands under which name."""

from __future__ import annotations

import typer

from flames.cli import prompts, score, scorer


def register(app: typer.Typer) -> None:
    """Adds every command to the app, in the order in which help lists them."""
    app.command("score")(score.score)
    app.add_typer(prompts.app, name="prompts")
    app.add_typer(scorer.app, name="scorer")
