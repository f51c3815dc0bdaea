"""`flames batch`: requests as files for other programs, and their results back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flames.cli._console import JsonOptions, say, tell
from flames.collect import batch_exchange
from flames.collect.batch_exchange import ExportOptions, ImportOptions
from flames.models.base import Sampling


def export(options: ExportOptions, sampling: Sampling, printing: JsonOptions) -> None:
    """Write the requests that a run lacks as lines of a batch; print the files.

    A model's name instead of a run begins a new run.
    """
    done = batch_exchange.export_requests(options, sampling)
    say(f"{done.run.path}: {done.requests} of {done.run.manifest.planned} requests are to be asked")
    paths = [str(path) for path in done.files]
    data = {"run": str(done.run.path), "requests": done.requests, "files": paths}
    tell(printing, data, paths)


def import_results(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Files of results, errors included.")
    ],
    options: ImportOptions,
    printing: JsonOptions,
) -> None:
    """Import the results of a batch from files into a run; print the run directory.

    What was answered before stays, so that a file may be imported again.
    """
    done = batch_exchange.import_results(run, files, options)
    for line in done.told:
        say(f"not taken: {line}")
    counts = ", ".join(f"{n} {status}" for status, n in sorted(done.counts.items()))
    known = f"; {done.known} known before" if done.known else ""
    say(f"{done.run.model}: {counts or 'nothing new'}{known}; {done.missing} still to be asked")
    data = {
        "run": str(done.run.path),
        "counts": dict(done.counts),
        "known": done.known,
        "missing": done.missing,
        "told": done.told,
    }
    tell(printing, data, [str(done.run.path)])
