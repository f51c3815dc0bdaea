"""Evaluating scorers by name: on labels of one's own, bundled ones, and sets of others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from flames.analysis.evaluate import compare_scorers, evaluate, judge_labelled
from flames.analysis.evaluation import Evaluation
from flames.analysis.judged import Judged, Verdicts
from flames.errors import InputError, UsageError
from flames.metrics.result import Note
from flames.metrics.whole_columns import whole_rows
from flames.options import Opt, SeedOptions
from flames.scorers.base import ScorerInfo
from flames.scorers.external import read_external
from flames.scorers.label_rows import LabelColumns
from flames.scorers.labelled import LabelFiles, LabelledSet, LabelOptions, read_labelled
from flames.scorers.options import TrainedOptions, load_with
from flames.storage.record_files import ReadOptions, read_verdicts


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(SeedOptions, TrainedOptions):
    """Which scorers are evaluated, and on which labels."""

    scorers: Annotated[
        tuple[str, ...],
        Opt("Scorers by name or path; compared with the first.", metavar="SCORER", positional=True),
    ]
    labels: LabelFiles = ()
    on: Annotated[
        tuple[str, ...],
        Opt(
            "Evaluate on labelled sets of others, each by itself: latent-jailbreak, diasafety, "
            "cold, jade.",
            metavar="SET,…",
            commas=True,
        ),
    ] = ()
    source: Annotated[
        str | None,
        Opt("A mirror's address or a local copy of the sets.", flag="--from", metavar="URL|PATH"),
    ] = None
    left_out: Annotated[
        Path | None,
        Opt(
            "Verdicts made without the model of each response in training; they stand for the "
            "first scorer's own on --labels.",
            metavar="FILE",
        ),
    ] = None
    write_card: Annotated[
        bool, Opt("Keep the figures as the scorer's card, which every report quotes.")
    ] = False
    card_out: Annotated[
        Path | None,
        Opt(
            "Where the card is kept; by default the scorer's folder, and your cache.",
            metavar="FILE",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels and not self.on:
            raise UsageError("give labels: --labels FILE, --labels labels:natural, or --on SET")
        if self.left_out is not None and not self.labels:
            raise UsageError("--left-out stands for verdicts on --labels")
        if self.card_out is not None and (not self.write_card or len(self.scorers) > 1):
            raise UsageError("--card-out is where --write-card keeps the card of one scorer")


def evaluate_with(
    options: EvaluateOptions,
    reading: LabelOptions,
    *,
    progress: Callable[[str, int, int], None] = lambda scorer, total, done: None,
) -> list[Evaluation]:
    """Loads scorers and labels; evaluates each scorer, all but the first against the first.

    There is one evaluation per scorer on all `labels` together, and one on each set of `on`.
    """
    read = reading.read_options()
    sets = [
        read_external(name, _within(options.source, name), read.taxonomy) for name in options.on
    ]
    if options.labels:
        sets.insert(0, _own_labels(options, reading, read))
    scorers = [
        load_with(spec, options.given(), reading.taxonomy, beside=options.scorers)
        for spec in options.scorers
    ]
    found: list[Evaluation] = []
    for labelled in sets:
        first: Judged | None = None
        for spec, scorer in zip(options.scorers, scorers, strict=True):
            name = f"{spec} · {labelled.name}" if labelled.name else spec
            step = partial(progress, name, len(labelled.rows))
            info, seconds = scorer.info, None
            if options.left_out is not None and first is None and labelled.name is None:
                judged = _left_out(options.left_out, labelled, info, read)
                info = replace(
                    info, learnt=(), notes=(*info.notes, Note("left_out", scorer=info.id))
                )
            else:
                judged, seconds = judge_labelled(scorer, labelled, read.taxonomy, progress=step)
            evaluation = evaluate(
                labelled, judged, info, read.taxonomy, seconds=seconds, seed=options.seed
            )
            if first is None:
                first = judged
            else:
                gap = compare_scorers(labelled, judged, first, read.taxonomy, seed=options.seed)
                evaluation = evaluation.model_copy(update={"difference": gap})
            found.append(evaluation)
    return found


def _own_labels(options: EvaluateOptions, reading: LabelOptions, read: ReadOptions) -> LabelledSet:
    """Reads `--labels`; where no scorer reads the texts, they may be missing."""
    unread = options.left_out is not None and len(options.scorers) == 1
    return read_labelled(
        options.labels,
        read,
        prompt_needed=False,
        text_needed=not unread or reading.skip_incomplete,
        skip_incomplete=reading.skip_incomplete,
        stored=True,
    )


def _within(source: str | None, name: str) -> str | None:
    """Returns a set's own folder within the folder of several, if it has one."""
    own = os.path.join(source, name) if source else ""
    return own if os.path.isdir(own) else source


def _left_out(path: Path, labelled: LabelledSet, info: ScorerInfo, options: ReadOptions) -> Judged:
    verdicts = Verdicts(LabelColumns.of(labelled.rows), options.taxonomy, info.id)
    if (whole := whole_rows(path, options)) is not None:
        verdicts.extend(whole, options.prompts)
    else:
        for verdict in read_verdicts(path, options):
            verdicts.append(verdict)
    del whole  # as large as all the rest
    judged = verdicts.joined()
    if judged.missing:
        raise InputError(
            f"has no verdict on {judged.missing:,} of {len(labelled.rows):,} labelled responses",
            path=path,
        )
    return judged
