"""What a training by gradient steps would do, without loading weights: counts, steps, memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flames.errors import FlamesError, UsageError
from flames.scorers.trained.backbone import one_line, quiet, read_errors
from flames.text import shorten
from flames.training.options import TrainOptions
from flames.training.splits import Split

_GIB = 2**30


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
    memory = _counted(config, options, world)
    rows = len(split.training.rows)
    step = options.batch_size * options.accumulate * world
    steps = math.ceil(rows / step) * options.epochs
    if options.max_steps > 0:
        steps = options.max_steps
    yield f"processes: {world} (WORLD_SIZE), each with batches of {options.batch_size} rows"
    yield f"a step: {step} rows ({options.batch_size} × {options.accumulate} × {world})"
    yield f"steps: {math.ceil(steps)} at most, for {rows:,} rows and {options.epochs:g} epochs"
    sizes = f"{memory.parameters:,} parameters, {memory.trained:,} trained or added"
    yield f"backbone: {config.model_type}, {layers} layers, {sizes}"
    held = "sharded over the processes (FSDP2)" if options.fsdp else "whole in each process"
    computed = "bfloat16" if options.bf16 else options.dtype
    yield f"weights: {options.dtype}, {held}; computed in {computed}"
    packing = ", packed if the backbone keeps examples apart" if options.packing else ""
    yield f"attention: {options.attention}{packing}"
    recomputed = " (recomputed)" if options.checkpoint_layers else ""
    kept = memory.weights + memory.gradients + memory.states
    yield (
        f"memory per process, estimated: {_gib(memory.peak)} at most; {_gib(kept)} for weights, "
        f"gradients and AdamW, {_gib(memory.activations)} for activations of "
        f"{options.batch_size} × {options.longest} tokens{recomputed}"
    )


def _config(backbone: str) -> Any:
    from transformers import AutoConfig

    if backbone.endswith(".gguf"):
        raise UsageError("--dry-run reads config.json, which a .gguf file does not have")
    with quiet(), read_errors(Path(backbone)):
        config = AutoConfig.from_pretrained(backbone, local_files_only=os.path.isdir(backbone))
    return config.get_text_config()


def _counted(config: Any, options: TrainOptions, processes: int) -> Any:
    from flames.training.memory import count_memory

    try:
        return count_memory(config, options, processes)
    except FlamesError:
        raise
    except Exception as error:  # a model's own code raises all kinds
        reason = shorten(one_line(error), 200)
        raise UsageError(f"{config.model_type} cannot be counted: {reason}") from None


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f} GiB"
