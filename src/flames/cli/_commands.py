"""Which command stands under which name."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from flames.cli import (
    annotate,
    ask,
    compare,
    gate,
    leaderboard,
    prompts,
    report,
    run,
    score,
    scorer,
)

_SENTENCE = 300  # characters: more than the first sentence of any help


class Commands(TyperGroup):
    """Lists its commands with the whole first sentence of each, where typer would cut it off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list into the help."""
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(_SENTENCE))
                    for name, command in named
                    if command
                ]
            )


def register(app: typer.Typer) -> None:
    """Adds every command to the app, in the order in which help lists them."""
    app.command("run")(run.run)
    app.command("ask")(ask.ask)
    app.command("score")(score.score)
    app.command("report")(report.report)
    app.command("compare")(compare.compare)
    app.command("gate")(gate.gate)
    app.add_typer(prompts.app, name="prompts", cls=Commands)
    app.add_typer(scorer.app, name="scorer", cls=Commands)
    app.add_typer(leaderboard.app, name="leaderboard", cls=Commands)
    app.add_typer(annotate.app, name="annotate", cls=Commands)
