"""Which command stands under which name."""

from __future__ import annotations

import typer

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


def register(app: typer.Typer) -> None:
    """Adds every command to the app, in the order in which help lists them."""
    app.command("run")(run.run)
    app.command("ask")(ask.ask)
    app.command("score")(score.score)
    app.command("report")(report.report)
    app.command("compare")(compare.compare)
    app.command("gate")(gate.gate)
    app.add_typer(prompts.app, name="prompts")
    app.add_typer(scorer.app, name="scorer")
    app.add_typer(leaderboard.app, name="leaderboard")
    app.add_typer(annotate.app, name="annotate")
