"""What training by gradient steps starts from, model and settings, and how it is saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from flames.errors import UsageError, need_extra
from flames.metrics.result import Note
from flames.scorers.trained.backbone import is_encoder, layers_of, model_type_of, quiet
from flames.scorers.trained.model import FlamesScorer
from flames.scorers.trained.settings import CONFIG, ScorerSettings, heads_of
from flames.taxonomy import Taxonomy
from flames.training.config import with_checksum, write_settings
from flames.training.folder import CHECKPOINTS
from flames.training.options import TrainOptions
from flames.training.splits import Split
from flames.training.targets import training_data


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
        template=options.form,
        max_length=options.longest,
        pooling=options.pooling or ("cls" if is_encoder(kind) else "last"),
        training_data=data,
        notes=(Note("simulated"),) if data.synthetic else split.training.notes,
    )


def model_to_train(
    options: TrainOptions, settings: ScorerSettings, attention: str | None = None
) -> Any:
    """Loads the backbone with fresh heads, with adapters or frozen layers if asked for.

    `attention` is its name in transformers, which chooses if it is None.
    """
    model = FlamesScorer.from_backbone(
        options.backbone,
        settings,
        dtype=options.dtype,
        layers=options.first_layers,
        **({} if attention is None else {"attn_implementation": attention}),
    )
    model.backbone = adapted(model.backbone, options)
    return model


def adapted(backbone: Any, options: TrainOptions) -> Any:
    """Returns a backbone with frozen layers or adapters, if asked for."""
    if options.train_layers is not None:
        _freeze(backbone, options.train_layers)
    return _with_lora(backbone, options.lora_rank) if options.lora_rank else backbone


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
