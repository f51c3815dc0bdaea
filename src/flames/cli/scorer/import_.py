"""`flames scorer import`: the released scorer on today's libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import QuietOption, TaxonomyOption
from flames.cli.scorer import app


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|NAME",
            help="The folder of the released checkpoint, or its name on the model hub "
            "(CaasiHUANG/flames-scorer).",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to put it; where `--scorer flames-scorer` finds it unless given.",
        ),
    ] = None,
    dtype: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--dtype", help="float32, bfloat16 or float16; as stored unless given."),
    ] = None,
    taxonomy: TaxonomyOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an imported scorer that is there.")
    ] = False,
    selftest: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--selftest",
            metavar="FILE",
            help="Pairs for another taxonomy's self-test; off leaves the test to the first use.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Import the released scorer: no remote code, any transformers 5, GPU or CPU; self-test it."""
    from flames.errors import UsageError
    from flames.taxonomy import load_taxonomy
    from flames.training.import_released import ImportOptions, import_checkpoint

    if dtype not in (None, "float32", "bfloat16", "float16"):
        raise UsageError(f"--dtype is float32, bfloat16 or float16, not {dtype!r}")
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        folder = import_checkpoint(
            source,
            out,
            ImportOptions(
                taxonomy=load_taxonomy(taxonomy),
                dtype=dtype,
                overwrite=overwrite,
                progress=lambda what, share: bar.update(task, description=what, completed=share),
            ),
        )
    typer.echo(f"{folder}")
    if selftest == "off":
        return
    from flames.scorers.base import ScorerContext
    from flames.scorers.selftest import record_selftest

    values = load_taxonomy(taxonomy)
    given = {} if selftest is None else {"selftest": selftest}
    outcome = record_selftest(folder, ScorerContext(taxonomy=values, options=given))
    if outcome is None:
        typer.echo(
            "not self-tested: there are no pairs for this taxonomy (--selftest FILE)", err=True
        )
    else:
        told = "passed" if outcome.passed else "FAILED; scoring with it will be refused"
        typer.echo(f"self-test {told}: {outcome.summary}", err=True)
