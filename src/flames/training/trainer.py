"""Training, from labelled rows to a saved scorer with its card.

What a new scorer reaches on what was held back, and others on the same rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flames.analysis.evaluate import compare_scorers, evaluate, majority_labels, score_labelled
from flames.analysis.evaluation import Evaluation
from flames.errors import FlamesError, UsageError
from flames.models.local import local_file
from flames.records import Verdict, dump_line
from flames.reports.evaluation import print_summary
from flames.scorers.base import ScorerContext, ScorerInfo
from flames.scorers.labelled import LabelledSet, LabelOptions, read_labelled
from flames.scorers.trained.backbone import quiet as quiet_transformers
from flames.scorers.trained.load import pick_device
from flames.scorers.trained.settings import ScorerSettings
from flames.storage.atomic import write_atomic
from flames.taxonomy import Language, Taxonomy
from flames.training.card import card
from flames.training.folder import begin, claim, finish, model_to_train, plan_of, save, settings_of
from flames.training.frozen import check_frozen, folds_of, solve_heads
from flames.training.leaks import without_leaks
from flames.training.options import Progress, TrainFiles, TrainOptions
from flames.training.rows import Rows, class_weights
from flames.training.splits import LEFT_OUT, Split, SplitOptions
from flames.training.splits import split as make_split
from flames.training.steps import by_steps

if TYPE_CHECKING:
    from rich.console import Console


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

    Args:
        files: The label files and the output folder.
        reading: How the label files are read.
        splitting: Which rows are held back.
        options: How the scorer is trained.
        report: Called with messages for the user: licence terms, the sizes of the parts,
            comparisons that were skipped.
        progress: Called with what is being done and how far it is, from 0 to 1.
        quiet: Do not report the sizes of the parts.

    Returns:
        The result; None in processes of torchrun that do not write.

    Raises:
        FlamesError: See `read_labelled`, `split`, `without_leaks` and `train`.
    """
    if int(os.environ.get("RANK", "0")):
        report = progress = _ignore
    if options.backbone == "local":
        options = replace(options, backbone=str(local_file(report)))
    read = reading.read_options()
    labelled = read_labelled(
        files.labels,
        read,
        prompt_needed="{prompt}" in options.template,
        skip_incomplete=reading.skip_incomplete,
    )
    parts = make_split(labelled, splitting, read.taxonomy)
    parts, dropped = without_leaks(parts, drop=splitting.drop_leaks)
    if not quiet:
        sizes = ", ".join(f"{name} {len(part.rows):,}" for name, part in parts.parts().items())
        report(f"rows: {sizes}{f'; {dropped:,} leaking rows dropped' if dropped else ''}")
    result = train(parts, options, files.out, read.taxonomy, resume=files.resume, progress=progress)
    for spec, reason in ({} if result is None else result.skipped).items():
        report(f"not compared with {spec}: {reason}")
    return result


def _ignore(*args: Any) -> None:
    """Takes a message or progress and does nothing."""


def train(
    split: Split,
    options: TrainOptions,
    out: Path,
    taxonomy: Taxonomy,
    *,
    resume: bool = False,
    progress: Progress = lambda what, share: None,
) -> Trained | None:
    """Trains a scorer and writes it, its figures and its model card into a folder.

    Under torchrun, every process calls this; the first one writes.

    Args:
        split: Training, validation and test part, free of leaks.
        options: See `TrainOptions`.
        out: The folder. An unfinished training in it goes on if `resume` is set.
        taxonomy: One head a dimension is made.
        resume: Go on with the unfinished training in `out`.
        progress: Told what is being done and how far it is, from 0 to 1.

    Returns:
        The result; None in processes that did not write.

    Raises:
        UsageError: The options cannot be met here, the folder is taken, the loss became NaN.
        InputError: There is no usable backbone.
    """
    if options.compare is None:
        options = replace(options, compare=() if split.each else ("lexical",))
    device = pick_device(options.device)
    if device.index:
        raise UsageError(
            f"--device {options.device}: choose a GPU with CUDA_VISIBLE_DEVICES and --device cuda"
        )
    if options.frozen:
        check_frozen(options)
    elif split.each:
        raise UsageError("--split each trains one scorer after the other: only with --frozen")
    settings = settings_of(split, options, out, taxonomy)
    plan = plan_of(options, split, settings)
    resumed = claim(out, plan, resume=resume)
    progress("loading the backbone", 0.0)
    torch.manual_seed(options.seed)
    with quiet_transformers():
        model = model_to_train(options, settings)
    encoder = model.encoder
    assert encoder is not None
    weights = class_weights(split.training.rows, settings) if options.class_weights else None
    smoothing = options.label_smoothing
    rows = Rows(split.training.rows, encoder, smoothing=smoothing, weights=weights)
    held: dict[str, LabelledSet] = {
        name: part if name == LEFT_OUT else _by_length(part)
        for name, part in split.parts().items()
        if name != "training"
    }
    encoded = {name: Rows(part.rows, encoder) for name, part in held.items()}
    history: list[Any] = []
    if options.frozen:
        turns = folds_of(rows.rows, taxonomy) if split.each else []
        begin(out, plan)
        logits = solve_heads(model, rows, encoded, turns, options, progress)
        final = model
    else:
        made = by_steps(model, rows, encoded, options, plan, out, resumed, device, progress)
        if made is None:
            return None
        final, logits, history = made
    settings = save(final, out)
    verdicts = {name: each.verdicts(logits[name], settings) for name, each in encoded.items()}
    if LEFT_OUT in verdicts:
        lines = "".join(dump_line(verdict.to_dict()) + "\n" for verdict in verdicts[LEFT_OUT])
        write_atomic(out / "left-out.jsonl", lines)
    result = judged(held, verdicts, settings, options, taxonomy, split, out)
    sizes = {"training": rows, **encoded}
    shortened = {name: each.shortened for name, each in sizes.items()}
    parameters = int(final.num_parameters())
    write_results(result, split, options, settings, taxonomy, parameters, shortened)
    finish(out, settings, history)
    return result


def _by_length(part: LabelledSet) -> LabelledSet:
    """Longest first: batches of similar length are computed without much padding."""
    return part.of(sorted(part.rows, key=lambda row: -len(row.response.response or "")))


_CARD = "README.md"


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Args:
        folder: Where the scorer is.
        evaluations: Of the validation and test parts, by part.
        others: What the scorers it is compared with reach on the same rows, by part.
        skipped: Scorers that it could not be compared with, and why.
    """

    folder: Path
    evaluations: Mapping[str, Evaluation]
    others: Mapping[str, tuple[Evaluation, ...]]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The evaluation of each part, as JSON."""
        return {name: each.to_dict() for name, each in self.evaluations.items()}

    def print(self, console: Console, lang: Language) -> None:
        """Prints a table per part: the new scorer and those it is compared with."""
        for name, each in self.evaluations.items():
            console.print(f"\n{name} part")
            print_summary([each, *self.others[name]], console, lang)


def judged(
    held: Mapping[str, LabelledSet],
    verdicts: Mapping[str, Sequence[Verdict]],
    settings: ScorerSettings,
    options: TrainOptions,
    taxonomy: Taxonomy,
    split: Split,
    out: Path,
) -> Trained:
    """Holds the new scorer, and those it is compared with, against the labels."""
    info = ScorerInfo(
        id=settings.id, title="trained here", taxonomy=taxonomy.id, notes=settings.notes
    )
    most = majority_labels(split.training.rows)
    found: dict[str, Evaluation] = {}
    others: dict[str, tuple[Evaluation, ...]] = {}
    skipped: dict[str, str] = {}
    for name, part in held.items():
        own, beside = verdicts[name], []
        found[name] = evaluate(part, own, info, taxonomy, majority=most, seed=options.seed)
        for spec in options.compare or ():
            try:
                beside.append(_compared(spec, part, own, taxonomy, options.seed))
            except FlamesError as error:
                skipped[spec] = str(error)
        others[name] = tuple(beside)
    return Trained(out, found, others, skipped)


def _compared(
    spec: str, part: LabelledSet, verdicts: Sequence[Verdict], taxonomy: Taxonomy, seed: int
) -> Evaluation:
    """Another scorer on the same rows, and its advantage."""
    from flames.scorers.registry import load_scorer

    scorer = load_scorer(spec, ScorerContext(taxonomy=taxonomy))
    theirs, seconds = score_labelled(scorer, part)
    made = evaluate(part, theirs, scorer.info, taxonomy, seconds=seconds, seed=seed)
    gap = compare_scorers(part, theirs, verdicts, seed=seed)
    return made.model_copy(update={"difference": gap})


def write_results(
    result: Trained,
    split: Split,
    options: TrainOptions,
    settings: ScorerSettings,
    taxonomy: Taxonomy,
    parameters: int,
    shortened: Mapping[str, int],
) -> None:
    """Writes the figures and the model card beside the scorer."""
    for name, found in result.evaluations.items():
        each = [found, *result.others[name]]
        data = {"schema": 1, "results": [one.to_dict() for one in each]}
        text = json.dumps(data, ensure_ascii=False, indent=1)
        path = result.folder / f"evaluation-{name.replace(' ', '-')}.json"
        write_atomic(path, text + "\n")
    text = card(
        result.evaluations,
        result.others,
        result.skipped,
        split,
        options,
        settings,
        taxonomy,
        parameters,
        shortened,
    )
    write_atomic(result.folder / _CARD, text)
