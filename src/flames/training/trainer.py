"""Training, from label files to a saved scorer: by gradient steps, or on a frozen backbone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flames.errors import CheckFailed, UsageError, need_extra
from flames.models.local import local_file
from flames.scorers.base import ScorerContext
from flames.scorers.labelled import LabelOptions, read_labelled
from flames.scorers.registry import load_scorer
from flames.taxonomy import Taxonomy
from flames.training.dry_run import dry_run
from flames.training.frozen import train_frozen
from flames.training.leaks import without_leaks
from flames.training.options import Progress, TrainFiles, TrainOptions
from flames.training.results import Trained
from flames.training.splits import Split, SplitOptions
from flames.training.splits import split as make_split


def train_from_files(
    files: TrainFiles,
    reading: LabelOptions,
    splitting: SplitOptions,
    options: TrainOptions,
    *,
    report: Callable[[str], None] = print,
    progress: Progress = lambda what, share: None,
    quiet: bool = False,
) -> Trained | None:
    """Trains a scorer on label files; what `flames scorer train` does.

    `report` gets messages for the user: licence terms, comparisons that were skipped and, unless
    `quiet`, the sizes of the parts and the attention. Returns None in processes of torchrun that do
    not write.
    """
    if int(os.environ.get("RANK", "0")):
        report = progress = _ignore
    if not options.frozen:
        _need_torch()
    if options.backbone == "local":
        options = replace(options, backbone=str(local_file(report)))
    read = reading.read_options()
    labelled = read_labelled(
        files.labels,
        read,
        prompt_needed="{prompt}" in options.form,
        skip_incomplete=reading.skip_incomplete,
    )
    parts = make_split(labelled, splitting, read.taxonomy)
    parts, dropped = without_leaks(parts, drop=splitting.drop_leaks)
    if not quiet:
        sizes = ", ".join(f"{name} {len(part.rows):,}" for name, part in parts.parts().items())
        report(f"rows: {sizes}{f'; {dropped:,} leaking rows dropped' if dropped else ''}")
    if files.dry_run:
        for line in dry_run(parts, options):
            report(line)
        return None
    result = train(
        parts,
        options,
        files.out,
        read.taxonomy,
        resume=files.resume,
        report=_ignore if quiet else report,
        progress=progress,
    )
    for spec, reason in ({} if result is None else result.skipped).items():
        report(f"not compared with {spec}: {reason}")
    if options.frozen:
        progress("running the self-test", 1.0)
        try:  # now and not at its first use, which would begin with a pause
            load_scorer(str(files.out), ScorerContext(taxonomy=read.taxonomy))
        except CheckFailed as error:
            report(str(error))
    return result


def _need_torch() -> None:
    need_extra("train", "training a scorer", "torch", "transformers", "accelerate")


def _ignore(*args: Any) -> None:
    pass


def train(
    split: Split,
    options: TrainOptions,
    out: Path,
    taxonomy: Taxonomy,
    *,
    resume: bool = False,
    report: Callable[[str], None] = lambda message: None,
    progress: Progress = lambda what, share: None,
) -> Trained | None:
    """Trains a scorer and writes it, its figures and its model card into a folder.

    The parts of the split must be free of leaks; each dimension of the taxonomy gets a head.
    `report` gets the attention, and why examples are not packed. Under torchrun, every process
    calls this; the first one writes, the others return None.
    """
    if options.compare is None:
        options = replace(options, compare=() if split.each else ("lexical",))
    if options.frozen:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("--frozen runs in one process; start it without torchrun")
        return train_frozen(split, options, out, taxonomy, resume=resume, progress=progress)
    if split.each:
        raise UsageError("--split each trains one scorer after the other; add --frozen")
    _need_torch()
    from flames.training.gradient import train_by_gradient

    return train_by_gradient(
        split, options, out, taxonomy, resume=resume, report=report, progress=progress
    )
