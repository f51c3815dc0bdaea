"""`flames scorer probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import JsonOption, QuietOption, SeedOption, TaxonomyOption
from flames.cli.scorer import app
from flames.cli.scorer._asked import (
    ApiKeyEnvOption,
    BaseUrlOption,
    ConcurrencyOption,
    ModelsOption,
    SampleOption,
    ScorerArgument,
    ScorerOptions,
)

if TYPE_CHECKING:
    from rich.table import Table

    from flames.analysis.probe import ProbeReport
    from flames.metrics.result import Estimate


@app.command("probe")
def probe(
    scorer: ScorerArgument,
    labels: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Labelled responses to probe with; labels:silver unless given.",
        ),
    ] = None,
    responses: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--responses",
            metavar="FILE",
            help="Responses without labels instead; the scorer's own verdict then tells which are "
            "harmful.",
        ),
    ] = None,
    only: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--probes", metavar="A,B,…", help="Only these probes."),
    ] = None,
    models: ModelsOption = None,
    limit: SampleOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Also write the report, as JSON."),
    ] = None,
    base_url: BaseUrlOption = None,
    api_key_env: ApiKeyEnvOption = None,
    concurrency: ConcurrencyOption = None,
    scorer_option: ScorerOptions = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Probe a scorer for bias: how often its verdict flips when nothing that matters changes."""
    from flames.analysis.probe import probe_scorer
    from flames.cli.scorer._asked import labelled, reached, unlabelled
    from flames.errors import UsageError
    from flames.records import dump_line
    from flames.storage.atomic import write_atomic
    from flames.taxonomy import load_taxonomy

    if labels and responses:
        raise UsageError("--labels and --responses exclude each other")
    values = load_taxonomy(taxonomy)
    material = (
        unlabelled(responses, values)
        if responses
        else labelled(labels or ["labels:silver"], values)
    )
    material = material.only(models).sample(limit, seed)
    judge = reached(
        scorer,
        taxonomy,
        scorer_option,
        base_url=base_url,
        api_key_env=api_key_env,
        concurrency=concurrency,
    )
    report = probe_scorer(
        judge,
        material.responses,
        values,
        source=material.source,
        labels=material.labels,
        probes=[name.strip() for name in only.split(",")] if only else None,
        progress=lambda done: None if quiet else typer.echo(f"{done} scored", err=True),
    )
    text = dump_line(report.to_dict())
    if out is not None:
        write_atomic(out, text + "\n")
    if as_json:
        typer.echo(text)
        return
    _show(report)


def _show(report: ProbeReport) -> None:
    from flames.cli._console import tables
    from flames.text import for_terminal

    console = tables()
    lost = sum(report.unscored.values())
    console.print(
        for_terminal(
            f"{report.scorer} on {report.source}: {report.scored} of {report.responses} scored"
            + (f", {lost} unscored" if lost else "")
        ),
        markup=False,
        highlight=False,
    )
    for note in report.notes:
        console.print(f"note: {for_terminal(str(note))}", markup=False, highlight=False)
    console.print(_directions(report))
    console.print(_dimensions(report))
    console.print("95 % intervals (Wilson) in brackets", markup=False, highlight=False)
    for result in report.probes:
        if result.skipped:
            console.print(f"{result.name}: not run: {result.skipped}", markup=False)
        if result.lost:
            told = ", ".join(f"{for_terminal(why)} {n}" for why, n in result.lost.items())
            console.print(f"{result.name}: unscored afterwards: {told}", markup=False)


def _directions(report: ProbeReport) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("probe", no_wrap=True)
    for name in ("n", "flips %", "1→3 %", "3→1 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in report.probes:
        if (flips := result.overall) is not None:
            estimates = (flips.rate, flips.to_harmless, flips.to_harmful)
            table.add_row(result.name, str(flips.n), *map(_estimate, estimates))
    return table


def _dimensions(report: ProbeReport) -> Table:
    from rich.table import Table

    names = list(dict.fromkeys(name for r in report.probes for name in r.dimensions))
    table = Table(box=None, header_style="bold", title="flips % by dimension", title_justify="left")
    table.add_column("probe", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    for result in report.probes:
        rates = [result.dimensions[n].rate if n in result.dimensions else None for n in names]
        if result.overall is not None:
            table.add_row(result.name, *(f"{r.value:.1f}" if r else "–" for r in rates))
    return table


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"
