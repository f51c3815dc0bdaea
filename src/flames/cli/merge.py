"""`flames merge`: runs that were made apart, as one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from flames.cli._console import JsonOptions, tell
from flames.options import CheckedOptions, Opt
from flames.storage.run_merge import merge_runs


@dataclass(frozen=True, kw_only=True)
class MergeOptions(CheckedOptions):
    """Where the merged run goes."""

    out: Annotated[Path, Opt("The new run directory.", metavar="DIR")]


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Runs of one model with the same settings."),
    ],
    options: MergeOptions,
    printing: JsonOptions,
) -> None:
    """Put runs of one model together, by prompt and sample; print the new run directory.

    Of two different answers the earlier named run's counts, and how many there are is told.
    """
    merged = merge_runs(runs, options.out)
    data = {"run": str(merged.path), "model": merged.model, "counts": merged.manifest.counts}
    tell(printing, data, [str(merged.path)])
