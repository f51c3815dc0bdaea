"""Training, from labelled rows to a saved scorer with its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from flames.errors import UsageError
from flames.evaluation import LabelledSet
from flames.io import write_atomic
from flames.records import dump_line
from flames.scorers.classifier._backbone import quiet
from flames.scorers.classifier._load import pick_device
from flames.taxonomy import Taxonomy
from flames.training._folder import begin, claim, finish, plan_of, save
from flames.training._frozen import check_options, solve_heads, turns_of
from flames.training._judging import Trained, judged, write_results
from flames.training._options import Progress, TrainOptions
from flames.training._rows import Rows, class_weights
from flames.training._splits import LEFT_OUT, Split
from flames.training._start import model_to_train, settings_of
from flames.training._steps import by_steps


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
    device = pick_device(options.device)
    if device.index:
        raise UsageError(
            f"--device {options.device}: choose a GPU with CUDA_VISIBLE_DEVICES and --device cuda"
        )
    if options.frozen:
        check_options(options)
    elif split.each:
        raise UsageError("--split each trains one scorer after the other: only with --frozen")
    settings = settings_of(split, options, out, taxonomy)
    plan = plan_of(options, split, settings)
    resumed = claim(out, plan, resume=resume)
    progress("loading the backbone", 0.0)
    torch.manual_seed(options.seed)
    with quiet():
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
        turns = turns_of(rows.rows, taxonomy) if split.each else []
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
