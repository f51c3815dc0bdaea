"""`flames report`, `compare`, `trend`, `gate`: what verdicts say, for people and programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flames import pipeline
from flames.analysis.gate_rules import RULES_FILE, GateOptions, write_rules
from flames.cli._console import JsonOptions, echo, say, tables
from flames.errors import UsageError
from flames.options import Opt
from flames.reports.certificate import CertificateReport, CertifyOptions
from flames.reports.comparison import print_comparison
from flames.reports.documents import CompareOptions, ComparisonReport, Report, ReportOptions
from flames.reports.gate import gate_lines
from flames.reports.report import print_summary
from flames.reports.trend import TrendOptions, TrendReport


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN",
            help="Files of verdicts (the released scorer's output, too; - is standard input), "
            "run directories, labels:FILE, labels:silver, labels:natural.",
        ),
    ],
    options: ReportOptions,
) -> None:
    """Report rates, scores, intervals and coverage; for a run, also (re)write its report."""
    found = pipeline.report(paths, options)
    if options.format is None:
        given = (found.lang, found.taxonomy, found.corrections, found.beside)
        print_summary(found.results, tables(), *given)
    _finish(found, options.format, options.out)


def compare(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN",
            help="Files of verdicts, runs, labels:silver or labels:natural, the baseline first; "
            "or one file that holds several models.",
        ),
    ],
    options: CompareOptions,
) -> None:
    """Compare models on the prompts that both answered: differences, intervals, tests, changes."""
    found = pipeline.compare(paths, options)
    if options.format is None:
        few = 10 if options.changes is None else options.changes
        print_comparison(found.comparison, tables(), found.lang, found.taxonomy, changes=few)
    _finish(found, options.format, options.out)


def trend(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|FILE", help="Runs or files of verdicts, one per checkpoint, in order."
        ),
    ],
    options: TrendOptions,
) -> None:
    """Show checkpoints in a row: values with intervals, and between which of them they changed."""
    found = pipeline.trend(paths, options)
    if options.format is None:
        found.print(tables())
    _finish(found, options.format, options.out)


def certify(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="RUN|FILE", help="Runs, or files of verdicts."),
    ],
    options: CertifyOptions,
) -> None:
    """Certify a run with labels by people: what may be claimed, how right the scorer is."""
    found = pipeline.certify(paths, options)
    if options.format is None:
        found.print(tables())
    _finish(found, options.format, options.out)


def _finish(
    found: Report | ComparisonReport | TrendReport | CertificateReport, form: Any, out: Path | None
) -> None:
    if form is not None and out is None:
        for part in found.parts(form) if isinstance(found, Report) else [found.render(form)]:
            typer.echo(part, nl=False)
    for path in found.written:
        say(str(path))


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
    found = pipeline.gate(path, options)
    if printing.json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        if found.rules_file is not None:
            say(f"rules of {found.rules_file}")
        echo(gate_lines(found))
    if not found.passed:
        raise typer.Exit(1)
