"""Which attention a training computes, and whether it packs examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from flames.errors import InputError, UsageError
from flames.scorers.trained.packing import FLASH, keeps_apart
from flames.scorers.trained.settings import ScorerSettings
from flames.training.options import TrainOptions
from flames.training.rows import collate, collate_packed
from flames.training.start import model_to_train


def flash_lacks(options: TrainOptions, device: Any) -> str | None:
    """Returns what is missing for flash attention 2; None if it can be computed."""
    from transformers.utils import is_flash_attn_2_available

    if device.type != "cuda":
        return "a CUDA device"
    if not (options.bf16 or options.dtype == "bfloat16"):
        return "--bf16 (or --dtype bfloat16)"
    if torch.cuda.get_device_capability(device)[0] < 8:
        return "a GPU with compute capability 8.0 or higher (A100, RTX 30 or later)"
    return None if is_flash_attn_2_available() else "the package flash-attn, which is not installed"


def load_model(options: TrainOptions, settings: ScorerSettings, device: Any) -> Any:
    """Loads the model to train, with flash attention where that is possible and not ruled out."""
    chosen: str | None = None if options.attention == "auto" else options.attention
    lacks = flash_lacks(options, device) if options.attention in ("auto", "flash") else None
    if options.attention == "flash" and lacks:
        raise UsageError(f"--attention flash needs {lacks}; omit it to compute with sdpa")
    if options.attention == "flash":
        chosen = FLASH
    if options.attention == "auto" and lacks is None:
        try:
            return model_to_train(options, settings, FLASH)
        except InputError as error:
            if "Flash Attention" not in str(error):
                raise
    return model_to_train(options, settings, chosen)


def attention_of(model: Any) -> str:
    """Returns the attention that a model computes: sdpa, eager or flash_attention_2."""
    return str(model.backbone.config._attn_implementation)


def batches(
    model: Any, options: TrainOptions, report: Callable[[str], None]
) -> tuple[Callable[..., Any], bool]:
    """Returns what makes batches of rows, and whether it packs them; says so if it cannot."""
    padded = partial(collate, settings=model.settings)
    if not options.packing:
        return padded, False
    if not keeps_apart(model):
        kind = model.config.text_config.model_type
        report(f"--packing: {kind} mixes up examples that share a row, so they are padded instead")
        return padded, False
    widest = None if attention_of(model) == FLASH else model.settings.max_length
    return partial(collate_packed, settings=model.settings, widest=widest), True
