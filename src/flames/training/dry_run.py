"""What a training by gradient steps would do, without loading weights: counts, steps, memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flames.errors import UsageError
from flames.scorers.trained.backbone import layers_of, quiet, read_errors
from flames.training.options import TrainOptions
from flames.training.splits import Split

_GIB = 2**30
_PER_TOKEN = 34  # bytes of activations per token, layer and state in 16 bits (Korthikanti 2022)


def dry_run(split: Split, options: TrainOptions) -> Iterator[str]:
    """Yields lines about the processes, the batches, the memory and the sharding of a training.

    The number of processes is WORLD_SIZE, as torchrun sets it.

    Raises:
        UsageError: The options do not go together, or the backbone has no configuration to read.
    """
    if options.frozen:
        raise UsageError("--dry-run is for gradient steps; --frozen runs in one process")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if options.fsdp and world == 1:
        raise UsageError("--fsdp shards over processes: start it with torchrun (or WORLD_SIZE=8)")
    config = _config(options.backbone)
    layers = min(config.num_hidden_layers, options.first_layers or config.num_hidden_layers)
    if options.train_layers is not None and options.train_layers > layers:
        raise UsageError(f"--train-layers {options.train_layers}: the backbone has {layers} layers")
    config.num_hidden_layers = layers
    total, trained = _parameters(config, options, layers)
    rows = len(split.training.rows)
    step = options.batch_size * options.accumulate * world
    steps = math.ceil(rows / step) * options.epochs
    if options.max_steps > 0:
        steps = options.max_steps
    yield f"processes: {world} (WORLD_SIZE), each with batches of {options.batch_size} rows"
    yield f"a step: {step} rows ({options.batch_size} × {options.accumulate} × {world})"
    yield f"steps: {math.ceil(steps)} at most, for {rows:,} rows and {options.epochs:g} epochs"
    sizes = f"{total:,} parameters, {trained:,} trained or added"
    yield f"backbone: {config.model_type}, {layers} layers, {sizes}"
    held = "sharded over the processes (FSDP)" if options.fsdp else "whole in each process"
    computed = "bfloat16" if options.bf16 else options.dtype
    yield f"weights: {options.dtype}, {held}; computed in {computed}"
    size = 2 if options.dtype == "bfloat16" else 4
    kept = (total * size + 3 * trained * size) / (world if options.fsdp else 1)
    work = _activations(config, options, layers)
    yield (
        f"memory per process, estimated: {_gib(kept)} for weights, gradients and AdamW, and up to "
        f"{_gib(work)} for activations of {options.longest} tokens"
        f"{' (recomputed)' if options.checkpoint_layers else ''}"
    )


def _config(backbone: str) -> Any:
    from transformers import AutoConfig

    if backbone.endswith(".gguf"):
        raise UsageError("--dry-run reads config.json, which a .gguf file does not have")
    with quiet(), read_errors(Path(backbone)):
        config = AutoConfig.from_pretrained(backbone, local_files_only=os.path.isdir(backbone))
    return config.get_text_config()


def _parameters(config: Any, options: TrainOptions, layers: int) -> tuple[int, int]:
    import torch
    from transformers import AutoModel

    with torch.device("meta"), quiet():
        model = AutoModel.from_config(config)
    total = sum(each.numel() for each in model.parameters())
    if options.lora_rank:
        linear = (m for m in model.modules() if isinstance(m, torch.nn.Linear))
        return total, sum(options.lora_rank * (m.in_features + m.out_features) for m in linear)
    if options.train_layers is None:
        return total, total
    last = list(layers_of(model))[layers - options.train_layers :]
    return total, sum(each.numel() for layer in last for each in layer.parameters())


def _activations(config: Any, options: TrainOptions, layers: int) -> float:
    tokens = options.batch_size * options.longest
    wide = 1 if options.bf16 or options.dtype == "bfloat16" else 2
    width: int = config.hidden_size
    layer = tokens * width * _PER_TOKEN * wide
    if options.checkpoint_layers:  # the input of each layer, and one layer at work
        return tokens * width * 2 * wide * layers + layer
    return layer * layers


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f} GiB"
