"""`flames scorer export`: a package that runs without torch or transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    MapOption,
    ModelNameOption,
    QuietOption,
    SeedOption,
    TaxonomyOption,
)
from flames.cli.scorer import app
from flames.cli.scorer._labels import LabelPromptsOption, SkipIncompleteOption
from flames.cli.scorer.selftest import SelftestOption


@app.command("export")
def export(
    scorer: Annotated[
        Path, typer.Argument(metavar="SCORER", help="The folder of a trained or imported scorer.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the package.")],
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="A,B",
            help="Any of fp32, bf16 (computed from the same file, where the processor can) and "
            "int8.",
        ),
    ] = "fp32,bf16,int8",
    labels: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Responses to calibrate int8 on and to compare on, beside the self-test's pairs "
            "(JSONL, CSV, XLSX, or labels:silver); may be repeated.",
        ),
    ] = None,
    min_agreement: Annotated[
        float,
        typer.Option(
            "--min-agreement",
            metavar="PERCENT",
            min=0,
            max=100,
            help="Refuse a precision that leaves fewer labels unchanged.",
        ),
    ] = 95.0,
    pairs: SelftestOption = None,
    prompts: LabelPromptsOption = None,
    skip_incomplete: SkipIncompleteOption = False,
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Export a scorer for fast scoring on a CPU, compared with its original."""
    from rich.console import Console

    from flames.cli.scorer._labels import read_options
    from flames.errors import UsageError
    from flames.scorers.base import ScorerContext
    from flames.scorers.labelled import read_labelled
    from flames.scorers.selftest import record_selftest
    from flames.training.export import PRECISIONS, ExportOptions
    from flames.training.export import export as exported

    wanted = tuple(each.strip() for each in precision.split(",") if each.strip())
    if not wanted or set(wanted) - set(PRECISIONS):
        raise UsageError(f"--precision takes any of {', '.join(PRECISIONS)}, not {precision!r}")
    values, read = read_options(taxonomy, prompts, mapping, encoding, model)
    rows = read_labelled(labels, read, skip_incomplete=skip_incomplete) if labels else None
    given = {} if pairs is None else {"selftest": str(pairs)}
    context = ScorerContext(taxonomy=values, prompts=read.prompts, options=given)
    console = Console(stderr=True)
    with console.status("exporting") as status:
        if quiet or not console.is_terminal:
            status.stop()
        options = ExportOptions(
            precisions=wanted,
            labels=rows,
            min_agreement=min_agreement,
            seed=seed,
            progress=status.update,
        )
        package = exported(scorer, out, context, options)
        status.update("self-test")
        outcome = record_selftest(out, context)
    if as_json:
        from flames.records import dump_line

        told = package.model_dump(mode="json", by_alias=True)
        typer.echo(dump_line({**told, "selftest": None if outcome is None else outcome.to_dict()}))
        return
    for check in package.checks:
        unasked = "" if check.precision in package.used else ", only used with --scorer-option"
        typer.echo(
            f"{check.backend} {check.precision}: {check.agreement:.2f} % of {check.n} labels "
            f"unchanged, logits within {check.max_difference:.2g}{unasked}"
        )
    if outcome is None:
        typer.echo("self-test: none for this taxonomy (--selftest FILE)")
    else:
        typer.echo(f"self-test: {'passed' if outcome.passed else 'FAILED'}, {outcome.summary}")
    typer.echo(f"{out}")
