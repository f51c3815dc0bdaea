"""Training, from labelled rows to a saved scorer with its figures and its model card."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flames.errors import MissingExtraError, UsageError
from flames.models.local import local_file
from flames.records import dump_line
from flames.scorers.labelled import LabelledSet, LabelOptions, read_labelled
from flames.scorers.trained.backbone import quiet as quiet_transformers
from flames.scorers.trained.load import pick_device
from flames.storage.atomic import write_atomic
from flames.taxonomy import Taxonomy
from flames.training.leaks import without_leaks
from flames.training.options import Progress, TrainFiles, TrainOptions
from flames.training.results import Trained, evaluate_parts, write_results
from flames.training.splits import LEFT_OUT, Split, SplitOptions
from flames.training.splits import split as make_split

try:
    import accelerate  # noqa: F401
    import torch

    from flames.training import folder
    from flames.training.frozen import folds_of, solve_heads
    from flames.training.rows import Rows, class_weights
    from flames.training.steps import train_by_steps
except ImportError as error:
    raise MissingExtraError("train", "training a scorer") from error


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

    `report` gets messages for the user: licence terms, the sizes of the parts unless `quiet`, and
    comparisons that were skipped. Returns None in processes of torchrun that do not write.
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
    pass


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

    The parts of the split must be free of leaks; each dimension of the taxonomy gets a head. Under
    torchrun, every process calls this; the first one writes, the others return None.
    """
    if options.compare is None:
        options = replace(options, compare=() if split.each else ("lexical",))
    device = pick_device(options.device)
    if device.index:
        raise UsageError(
            f"--device {options.device}: choose a GPU with CUDA_VISIBLE_DEVICES and --device cuda"
        )
    if options.frozen and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--frozen runs in one process; start it without torchrun")
    if split.each and not options.frozen:
        raise UsageError("--split each trains one scorer after the other; add --frozen")
    settings = folder.settings_of(split, options, out, taxonomy)
    plan = folder.plan_of(options, split, settings)
    resumed = folder.claim(out, plan, resume=resume)
    progress("loading the backbone", 0.0)
    torch.manual_seed(options.seed)
    with quiet_transformers():
        model = folder.model_to_train(options, settings)
    encoder = model.encoder
    weights = class_weights(split.training.rows, settings) if options.class_weights else None
    smoothing = options.label_smoothing
    rows = Rows(split.training.rows, encoder, smoothing=smoothing, weights=weights)
    held: dict[str, LabelledSet] = {**split.parts()}
    del held["training"]
    for name, part in held.items():
        if name != LEFT_OUT:  # longest first, so that batches need little padding
            held[name] = part.of(sorted(part.rows, key=lambda r: -len(r.response.response or "")))
    encoded = {name: Rows(part.rows, encoder) for name, part in held.items()}
    if options.frozen:
        folds = folds_of(rows.rows, taxonomy) if split.each else []
        folder.begin(out, plan)
        logits = solve_heads(model, rows, encoded, folds, options, progress)
        history: list[Any] = []
    else:
        done = train_by_steps(model, rows, encoded, options, plan, out, resumed, device, progress)
        if done is None:
            return None
        model, logits, history = done
    settings = folder.save(model, out)
    verdicts = {name: each.verdicts(logits[name], settings) for name, each in encoded.items()}
    if LEFT_OUT in verdicts:
        lines = "".join(dump_line(verdict.to_dict()) + "\n" for verdict in verdicts[LEFT_OUT])
        write_atomic(out / "left-out.jsonl", lines)
    result = evaluate_parts(held, verdicts, settings, options, taxonomy, split, out)
    parts = {"training": rows, **encoded}
    shortened = {name: sum(e.truncated for e in each.encoded) for name, each in parts.items()}
    parameters = int(model.num_parameters())
    write_results(result, split, options, settings, taxonomy, parameters, shortened)
    folder.finish(out, settings, history)
    return result
