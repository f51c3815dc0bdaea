"""`flames gate`: thresholds and allowed drops as an exit code."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flames import pipeline
from flames.analysis.gate import GateOptions
from flames.cli._options import JsonOptions
from flames.text import for_terminal


def gate(
    path: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run, or a file of verdicts.")],
    options: GateOptions,
    printing: JsonOptions,
) -> None:
    """Check a run against rules: one line per rule, exit code 0 if all hold, 1 otherwise."""
    found = pipeline.gate(path, options)
    if printing.json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        for rule in found.rules:
            word = "pass" if rule.passed else "FAIL"
            typer.echo(for_terminal(f"{word}  {rule.model}: {rule.rule}: {rule.found}"))
    if not found.passed:
        raise typer.Exit(1)
