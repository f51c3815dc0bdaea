"""`flames scorer calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import JsonOption, QuietOption, TaxonomyOption
from flames.cli.scorer import app
from flames.cli.scorer._asked import (
    ApiKeyEnvOption,
    BaseUrlOption,
    ConcurrencyOption,
    ModelsOption,
    ScorerArgument,
    ScorerOptions,
)
from flames.cli.scorer._labels import LabelsOption

SUSPICIOUS = 0.99
"""Accuracy that hardly any scorer reaches on labels that it has not seen."""


@app.command("calibrate")
def calibrate(
    scorer: ScorerArgument,
    labels: LabelsOption,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The calibration file (JSON) to write.")
    ],
    models: ModelsOption = None,
    method: Annotated[
        str, typer.Option("--method", help="temperature, or isotonic (needs more labels).")
    ] = "temperature",
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--threshold",
            metavar="P",
            min=0.0,
            max=1.0,
            help="Abstain where the likeliest score is less likely than this.",
        ),
    ] = None,
    target_accuracy: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--target-accuracy",
            metavar="A",
            min=0.0,
            max=1.0,
            help="Choose the lowest threshold at which what is kept is that accurate.",
        ),
    ] = None,
    base_url: BaseUrlOption = None,
    api_key_env: ApiKeyEnvOption = None,
    concurrency: ConcurrencyOption = None,
    scorer_option: ScorerOptions = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Calibrate a scorer's probabilities on labels; use the file as --scorer calibrated:FILE."""
    from flames.cli.scorer._asked import labelled, reached
    from flames.errors import UsageError
    from flames.scorers.base import score_stream
    from flames.scorers.calibrated import save_calibration
    from flames.scorers.calibration import calibrate as fit
    from flames.scorers.calibration import pairs
    from flames.scorers.labelled import training_overlap
    from flames.taxonomy import load_taxonomy
    from flames.text import for_terminal

    if method not in ("temperature", "isotonic"):
        raise UsageError(f"--method is temperature or isotonic, not {method!r}")
    if threshold is not None and target_accuracy is not None:
        raise UsageError("--threshold and --target-accuracy exclude each other")
    values = load_taxonomy(taxonomy)
    material = labelled(labels, values).only(models)
    judge = reached(
        scorer,
        taxonomy,
        scorer_option,
        base_url=base_url,
        api_key_env=api_key_env,
        concurrency=concurrency,
    )
    if not judge.info.probabilities:
        raise UsageError(
            f"{judge.info.id} gives no probabilities to calibrate; a judge gives them with votes=N"
        )
    given = [response.model for response in material.responses]
    known = training_overlap(judge.info, material.files, given)
    verdicts = list(score_stream(judge, material.responses))
    found = fit(
        pairs(verdicts, material.labels),
        values,
        scorer=scorer,
        scorer_id=judge.info.id,
        labels=material.source,
        files=material.files,
        models=given,
        notes=known,
        method=method,  # type: ignore[arg-type]
        threshold=threshold,
        target_accuracy=target_accuracy,
    )
    save_calibration(found, out)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    before, after = found.before, found.after
    typer.echo(f"{judge.info.id} on {material.source}, {before.n} responses, five folds by prompt")
    typer.echo(f"calibration error  {before.ece:.3f} → {after.ece:.3f}")
    typer.echo(f"log-likelihood     {-before.nll:.3f} → {-after.nll:.3f}")
    typer.echo(f"accuracy           {before.accuracy:.3f} → {after.accuracy:.3f}")
    if (told := found.abstention) is not None and told.accuracy is not None:
        typer.echo(
            f"threshold {told.threshold:.3f}: keeps {told.kept} of {told.n}, of them "
            f"{told.accuracy:.3f} right [{told.low:.3f}, {told.high:.3f}]"
        )
    for note in known:
        typer.echo(for_terminal(f"note: {note}"))
    if before.accuracy > SUSPICIOUS:
        typer.echo("almost all right: was the scorer trained on these labels? then it is no use")
    if not quiet:
        typer.echo(f"{out}", err=True)
