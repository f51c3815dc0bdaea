"""Training by gradient steps, from labelled rows to a saved scorer with its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from flames.errors import UsageError
from flames.scorers.labelled import LabelledSet
from flames.scorers.trained.backbone import public_name, quiet
from flames.scorers.trained.load import pick_device
from flames.scorers.trained.settings import ScorerSettings
from flames.taxonomy import Taxonomy
from flames.training import folder
from flames.training.attention import attention_of, batches, load_model
from flames.training.options import Progress, TrainOptions
from flames.training.results import About, Trained, evaluate_parts, write_results
from flames.training.rows import Rows
from flames.training.splits import Split
from flames.training.start import save, settings_of
from flames.training.steps import train_by_steps
from flames.training.targets import class_weights, source_weights


def train_by_gradient(
    split: Split,
    options: TrainOptions,
    out: Path,
    taxonomy: Taxonomy,
    *,
    resume: bool = False,
    report: Callable[[str], None] = lambda message: None,
    progress: Progress = lambda what, share: None,
) -> Trained | None:
    """Trains heads, and the backbone as far as asked; see `flames.training.trainer.train`."""
    device = pick_device(options.device)
    if device.index:
        raise UsageError(
            f"--device {options.device}: choose a GPU with CUDA_VISIBLE_DEVICES and --device cuda"
        )
    settings = settings_of(split, options, out, taxonomy)
    assert settings.training_data is not None
    data = settings.training_data.sha256
    shares = source_weights(split.training.rows, options.weights)
    plan = folder.plan_of(options, split, data)
    resumed = folder.claim(out, plan, resume=resume)
    progress("loading the backbone", 0.0)
    torch.manual_seed(options.seed)
    with quiet():
        model = load_model(options, settings, device)
        batch, packed = batches(model, options, report)
    attention = attention_of(model)
    report(f"attention: {attention}{', packed' if packed else ''}")
    encoder = model.encoder
    weights = class_weights(split.training.rows, settings) if options.class_weights else None
    smoothing = options.label_smoothing
    training = split.training.rows
    rows = Rows(training, encoder, smoothing=smoothing, weights=weights, shares=shares)
    held: dict[str, LabelledSet] = {**split.parts()}
    del held["training"]
    for name, part in held.items():  # longest first, so that batches need little padding
        held[name] = part.of(sorted(part.rows, key=lambda r: -len(r.response.response or "")))
    encoded = {name: Rows(part.rows, encoder) for name, part in held.items()}
    done = train_by_steps(
        model, rows, encoded, batch, options, plan, out, resumed, device, progress
    )
    if done is None:
        return None
    model, logits, history = done
    settings = save(model, out)
    verdicts = {name: each.verdicts(logits[name], settings) for name, each in encoded.items()}
    result = evaluate_parts(
        held, verdicts, settings.id, settings.notes, options, taxonomy, split, out
    )
    parts = {"training": rows, **encoded}
    shortened = {name: sum(e.truncated for e in each.encoded) for name, each in parts.items()}
    about = About(
        id=settings.id,
        name=settings.name,
        what="One linear head per dimension on a pretrained backbone, trained together",
        data_sha256=data,
        longest=settings.max_length,
        shortened=shortened,
        facts={
            "parameters": f"{int(model.num_parameters()):,}",
            **_used(options, settings),
            "attention": attention,
            "packing": packed,
        },
        software=("torch", "transformers"),
        backbone=options.backbone,
    )
    write_results(result, split, about, taxonomy)
    folder.finish(out, settings.id, history)
    return result


def _used(options: TrainOptions, settings: ScorerSettings) -> dict[str, Any]:
    used = asdict(options) | {
        "backbone": public_name(options.backbone),
        "pooling": settings.pooling,
        "learning_rate": options.rate,
        "max_length": options.longest,
        "layers": options.first_layers,
        "weights": {Path(name).name: each for name, each in options.weights.items()} or None,
    }
    del used["segments"]
    return used
