"""What a training starts from: settings, and a backbone of which a part may be frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flames.errors import UsageError
from flames.scorers.classifier import FlamesScorer, ScorerSettings, heads_of
from flames.scorers.classifier._backbone import is_encoder, layers_of, model_type_of
from flames.taxonomy import Taxonomy
from flames.training._options import TrainOptions
from flames.training._rows import training_data
from flames.training._splits import Split


def settings_of(
    split: Split, options: TrainOptions, out: Path, taxonomy: Taxonomy
) -> ScorerSettings:
    kind = model_type_of(options.backbone)
    data = training_data(
        split.training.rows,
        split.training.files,
        taxonomy,
        synthetic=split.training.synthetic,
    )
    notes = split.training.notes
    if data.synthetic:
        notes = ("trained on simulated responders, not on people's judgement of real models",)
    return ScorerSettings(
        name=options.name or out.resolve().name,
        taxonomy=taxonomy.id,
        heads=heads_of(taxonomy),
        template=options.template,
        max_length=options.max_length,
        pooling=options.pooling or ("cls" if is_encoder(kind) else "last"),
        training_data=data,
        notes=notes,
    )


def model_to_train(options: TrainOptions, settings: ScorerSettings) -> Any:
    """The backbone with fresh heads, and adapters or frozen layers where they are asked for.

    Raises:
        InputError: There is no usable backbone.
        UsageError: It has fewer layers, or does not go with the settings.
    """
    model = FlamesScorer.from_backbone(
        options.backbone, settings, dtype=options.dtype, layers=options.layers
    )
    if options.train_layers is not None:
        _freeze(model.backbone, options.train_layers)
    if options.lora_rank:
        model.backbone = _with_lora(model.backbone, options.lora_rank)
    return model


def _freeze(backbone: Any, layers: int) -> None:
    """Leaves only the last layers, and what comes after them, to be trained."""
    stack = layers_of(backbone)
    if layers > len(stack):
        raise UsageError(f"--train-layers {layers}: the backbone has {len(stack)} layers")
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    for layer in list(stack)[len(stack) - layers :]:
        layer.requires_grad_(True)
    last_norm = getattr(backbone, "norm", None)
    if layers and last_norm is not None:
        last_norm.requires_grad_(True)


def _with_lora(backbone: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear", bias="none"
    )
    return get_peft_model(backbone, config)
