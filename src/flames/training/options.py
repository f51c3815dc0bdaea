"""What can be set about a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flames.scorers.trained.settings import PAPER_TEMPLATE, Pooling

Progress = Callable[[str, float], None]
"""Told what is being done and how far it is, from 0 to 1."""


@dataclass(frozen=True)
class TrainOptions:
    """How a scorer is trained.

    Args:
        backbone: A folder, a `.gguf` file, or a name on the model hub.
        name: What the scorer is called; the output folder's name unless given.
        template: What the backbone reads: `{response}` once, `{prompt}` at most once.
        max_length: The longest input in tokens.
        pooling: `cls`, `mean` or `last`; unless given the first token of an encoder, the last
            of a decoder.
        epochs: Passes over the training part, at most.
        max_steps: Steps, at most; no limit unless positive.
        batch_size: Rows a step and process.
        accumulate: Batches whose gradients are added up before a step.
        learning_rate: The peak; unless given 2e-5, with LoRA or frozen layers 2e-4.
        weight_decay: Of AdamW.
        warmup: Share of the steps over which the learning rate rises.
        label_smoothing: Share of a target that goes to all classes of its head alike.
        class_weights: Weigh the classes of a dimension so that each counts as much.
        layers: Keep only so many layers of the backbone, the first ones: faster, and for base
            language models often no worse.
        train_layers: Train the last so many layers and the heads only; all unless given.
        frozen: Leave the backbone as it is, and solve the heads on its states instead of
            training by gradient steps; what is said of these does not count then.
        lora_rank: Rank of LoRA adapters in all linear layers; 0 is none. They are merged
            into the weights at the end.
        eval_every: Steps between evaluations and checkpoints; once an epoch unless given.
        patience: Evaluations without improvement after which training stops; 0 never stops.
        seed: Of everything random.
        device: `cpu`, `cuda`, …; the first GPU, if any, unless given.
        bf16: Compute in bfloat16 (weights stay as they are).
        dtype: What the backbone's weights are loaded as.
        checkpoint_layers: Recompute activations instead of keeping them (less memory, slower).
        fsdp: Shard parameters, gradients and optimizer over the processes (several GPUs).
        compare: Scorers that the model card holds the result against.
    """

    backbone: str
    name: str | None = None
    template: str = PAPER_TEMPLATE
    max_length: int = 512
    pooling: Pooling | None = None
    epochs: float = 3.0
    max_steps: int = -1
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.1
    label_smoothing: float = 0.0
    class_weights: bool = False
    layers: int | None = None
    train_layers: int | None = None
    frozen: bool = False
    lora_rank: int = 0
    eval_every: int | None = None
    patience: int = 2
    seed: int = 0
    device: str | None = None
    bf16: bool = False
    dtype: str = "float32"
    checkpoint_layers: bool = False
    fsdp: bool = False
    compare: tuple[str, ...] = ("lexical",)

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.lora_rank or self.train_layers is not None else 2e-5

    @property
    def exact(self) -> str | None:
        """What makes the arithmetic more exact, in words; None where it is exact already."""
        if self.bf16:
            return "compute without --bf16"
        return None if self.dtype == "float32" else "load it with --dtype float32"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {n: str(v) if isinstance(v, Path) else v for n, v in asdict(self).items()}
