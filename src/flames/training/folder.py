"""The folder of a training, and the model and settings that it starts from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flames.analysis.evaluate import keys_sha256
from flames.errors import InputError, UsageError, need_extra
from flames.metrics.result import Note
from flames.scorers.trained.backbone import is_encoder, layers_of, model_type_of, quiet
from flames.scorers.trained.model import FlamesScorer
from flames.scorers.trained.settings import CONFIG, ScorerSettings, heads_of
from flames.storage.atomic import write_atomic
from flames.taxonomy import Taxonomy
from flames.training.config import with_checksum, write_settings
from flames.training.options import TrainOptions
from flames.training.rows import training_data
from flames.training.splits import Split

CHECKPOINTS = "checkpoints"
_MANIFEST = "training.json"


def plan_of(options: TrainOptions, split: Split, settings: ScorerSettings) -> dict[str, Any]:
    """Describes what is trained on which data, for the folder's manifest."""
    assert settings.training_data is not None
    plan = {
        "schema": 1,
        "options": asdict(options),
        "data": settings.training_data.sha256,
        "held": {
            name: keys_sha256(row.key for row in part.rows)
            for name, part in split.parts().items()
            if name != "training"
        },
        "finished": False,
    }
    as_read: dict[str, Any] = json.loads(json.dumps(plan))  # to compare with a manifest
    return as_read


def claim(out: Path, plan: Mapping[str, Any], *, resume: bool) -> bool:
    """Checks that a training may use the folder; returns whether there is one to continue."""
    path = out / _MANIFEST
    if not path.is_file():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise UsageError(f"{out} is not empty; give another --out")
        if resume:
            raise UsageError(f"{out} holds no training to resume; omit --resume")
        return False
    try:
        known = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise InputError("is no manifest of a training", path=path) from None
    if known.get("finished"):
        raise UsageError(f"{out} holds a finished training; give another --out")
    if not resume:
        raise UsageError(f"{out} holds an unfinished training; continue it with --resume")
    for part, what in (("options", "options"), ("data", "data"), ("held", "held-back parts")):
        if known.get(part) != plan[part]:
            raise UsageError(f"{out} holds a training with other {what}; give another --out")
    return True


def begin(out: Path, plan: Mapping[str, Any]) -> None:
    """Writes the manifest, before the first step."""
    write_atomic(out / _MANIFEST, json.dumps(plan, indent=1) + "\n")


def last_checkpoint(out: Path) -> str | None:
    """Returns the last checkpoint that was written completely."""
    folder = out / CHECKPOINTS
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        try:
            json.loads((path / "trainer_state.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def save(model: Any, out: Path) -> ScorerSettings:
    """Writes the scorer: weights first, the configuration last."""
    made = out / CHECKPOINTS / "final"
    with quiet():
        model.to("cpu").save_pretrained(made)
    settings = with_checksum(model.settings, made)
    write_settings(made, settings)
    for path in made.iterdir():
        shutil.copymode(made / CONFIG, path)  # weights are made private
    for path in sorted(made.iterdir(), key=lambda path: path.name == CONFIG):
        os.replace(path, out / path.name)
    return settings


def finish(out: Path, settings: ScorerSettings, history: Sequence[Mapping[str, Any]]) -> None:
    """Marks the training as finished and deletes its checkpoints."""
    known = json.loads((out / _MANIFEST).read_text("utf-8"))
    done = {**known, "finished": True, "scorer": settings.id, "history": list(history)}
    write_atomic(out / _MANIFEST, json.dumps(done, indent=1) + "\n")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def settings_of(
    split: Split, options: TrainOptions, out: Path, taxonomy: Taxonomy
) -> ScorerSettings:
    """Builds the settings of a scorer that is trained with these options."""
    kind = model_type_of(options.backbone)
    data = training_data(split.training, taxonomy)
    return ScorerSettings(
        name=options.name or out.resolve().name,
        taxonomy=taxonomy.id,
        heads=heads_of(taxonomy),
        template=options.template,
        max_length=options.max_length,
        pooling=options.pooling or ("cls" if is_encoder(kind) else "last"),
        training_data=data,
        notes=(Note("simulated"),) if data.synthetic else split.training.notes,
    )


def model_to_train(options: TrainOptions, settings: ScorerSettings) -> Any:
    """Loads the backbone with fresh heads, with adapters or frozen layers if asked for."""
    model = FlamesScorer.from_backbone(
        options.backbone, settings, dtype=options.dtype, layers=options.layers
    )
    if options.train_layers is not None:
        _freeze(model.backbone, options.train_layers)
    if options.lora_rank:
        model.backbone = _with_lora(model.backbone, options.lora_rank)
    return model


def _freeze(backbone: Any, layers: int) -> None:
    stack = layers_of(backbone)
    if layers > len(stack):
        raise UsageError(f"--train-layers {layers}: the backbone has {len(stack)} layers")
    backbone.requires_grad_(False)
    for layer in list(stack)[len(stack) - layers :]:
        layer.requires_grad_(True)
    last_norm = getattr(backbone, "norm", None)
    if layers and last_norm is not None:
        last_norm.requires_grad_(True)


def _with_lora(backbone: Any, rank: int) -> Any:
    need_extra("train", "--lora-rank", "peft")
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear", bias="none"
    )
    return get_peft_model(backbone, config)
