"""`flames gate`: a run against rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from flames.analysis.gate_rules import RULES_FILE, GateOptions, write_rules
from flames.cli._console import JsonOptions, echo, say
from flames.errors import UsageError
from flames.options import Opt
from flames.pipeline import gating
from flames.reports.gate import gate_lines


@dataclass(frozen=True)
class InitOptions:
    """Whether a gate only begins a file of rules."""

    init: Annotated[
        bool, Opt("Only write a file of rules to begin with: flames-gate.toml, or --rules FILE.")
    ] = False


def gate(
    options: GateOptions,
    printing: JsonOptions,
    begin: InitOptions,
    path: Annotated[
        str | None, typer.Argument(metavar="RUN|FILE", help="A run, or a file of verdicts.")
    ] = None,
) -> None:
    """Check a run against rules: one line per rule, exit code 0 if all hold, 1 otherwise."""
    if begin.init:
        if path is not None:
            raise UsageError("--init only writes a file of rules; leave out the run")
        echo([str(write_rules(options.rules or RULES_FILE))])
        return
    if path is None:
        raise UsageError("name a run, or a file of verdicts")
    found = gating.gate(path, options)
    if printing.json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        if found.rules_file is not None:
            say(f"rules of {found.rules_file}")
        echo(gate_lines(found))
    if not found.passed:
        raise typer.Exit(1)
