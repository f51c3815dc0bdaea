"""Options for training a scorer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from flames.errors import UsageError
from flames.options import Opt, SeedOptions, listed, wrong_value
from flames.scorers.labelled import LabelFiles
from flames.scorers.trained.settings import TEMPLATES, Pooling, fillable

Progress = Callable[[str, float], None]
"""Called with what is being done and how far it is, from 0 to 1."""


@dataclass(frozen=True)
class TrainFiles:
    """What `flames scorer train` reads and writes."""

    labels: LabelFiles
    out: Annotated[Path, Opt("Folder of the new scorer.", metavar="DIR")]
    resume: Annotated[bool, Opt("Continue the unfinished training in --out.")] = False


@dataclass(frozen=True, kw_only=True)
class TrainOptions(SeedOptions):
    """Options for training a scorer; those of gradient steps have no effect with `frozen`.

    TrainOptions(backbone="hfl/chinese-roberta-wwm-ext", batch_size=32, seed=1)
    """

    backbone: Annotated[
        str,
        Opt(
            "Pretrained model: a folder, a .gguf file, a name on the model hub "
            "(hfl/chinese-roberta-wwm-ext, hfl/chinese-roberta-wwm-ext-large), or local, the "
            "small model of the extra of that name.",
            metavar="NAME|PATH",
        ),
    ]
    name: Annotated[
        str | None, Opt("Name of the scorer; the folder's name by default.", metavar="NAME")
    ] = None
    template: Annotated[
        str,
        Opt(
            f"Backbone input: {listed(TEMPLATES)}, or a text with {{prompt}} and {{response}}.",
            metavar="TEXT",
        ),
    ] = "paper"
    max_length: Annotated[int, Opt("Longest input in tokens.", min=16)] = 512
    pooling: Annotated[
        Pooling | None,
        Opt("State that the heads read; by default cls for an encoder, last for a decoder."),
    ] = None
    epochs: Annotated[float, Opt("Maximum number of epochs.", min=0)] = 3.0
    max_steps: Annotated[int, Opt("Maximum number of steps; no limit unless positive.")] = -1
    batch_size: Annotated[int, Opt("Batch size per process.", min=1)] = 16
    accumulate: Annotated[int, Opt("Batches per optimizer step.", min=1)] = 1
    learning_rate: Annotated[
        float | None,
        Opt("Peak learning rate; 2e-5 by default, 2e-4 with --lora-rank or --train-layers.", min=0),
    ] = None
    weight_decay: Annotated[float, Opt("Weight decay of AdamW.", min=0)] = 0.01
    warmup: Annotated[float, Opt("Share of the steps used for warm-up.", min=0, max=0.99)] = 0.1
    label_smoothing: Annotated[
        float, Opt("Share of each target that is spread over all classes.", min=0, max=0.99)
    ] = 0.0
    class_weights: Annotated[
        bool, Opt("Weight the classes of each dimension so that all count the same.")
    ] = False
    layers: Annotated[
        int | None, Opt("Keep only the backbone's first N layers.", metavar="N", min=1)
    ] = None
    train_layers: Annotated[
        int | None, Opt("Train only the last N layers and the heads.", metavar="N", min=0)
    ] = None
    frozen: Annotated[
        bool, Opt("Keep the backbone as it is and solve the heads on its states: minutes on a CPU.")
    ] = False
    lora_rank: Annotated[
        int, Opt("Train LoRA adapters of this rank in all linear layers; 0 for none.", min=0)
    ] = 0
    eval_every: Annotated[
        int | None,
        Opt("Steps between checkpoints; by default once per epoch.", metavar="STEPS", min=1),
    ] = None
    patience: Annotated[
        int, Opt("Stop after this many evaluations without improvement; 0 never stops.", min=0)
    ] = 2
    device: Annotated[
        str | None, Opt("cpu, cuda or mps; a GPU by default, if there is one.", metavar="NAME")
    ] = None
    bf16: Annotated[bool, Opt("Compute in bfloat16; the weights keep their type.")] = False
    dtype: Annotated[
        Literal["float32", "bfloat16"], Opt("Data type the backbone's weights are loaded in.")
    ] = "float32"
    checkpoint_layers: Annotated[
        bool, Opt("Recompute activations instead of keeping them: less memory, slower.")
    ] = False
    fsdp: Annotated[bool, Opt("Shard the model over the processes of torchrun.")] = False
    compare: Annotated[
        tuple[str, ...] | None,
        Opt(
            "Scorers to compare with (repeatable); by default lexical, none with --split each.",
            metavar="SCORER",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        template = TEMPLATES.get(self.template, self.template)
        if not fillable(template):
            takes = f"{', '.join(TEMPLATES)}, or a text with {{response}} once and {{prompt}} at "
            raise wrong_value("--template", f"{takes}most once", self.template)
        object.__setattr__(self, "template", template)
        trains = {
            "--lora-rank": self.lora_rank,
            "--train-layers": self.train_layers is not None,
            "--fsdp": self.fsdp,
        }
        for flag, given in trains.items():
            if given and self.frozen:
                raise UsageError(f"{flag} trains the backbone, --frozen does not; omit one of them")

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.lora_rank or self.train_layers is not None else 2e-5

    @property
    def exact(self) -> str | None:
        """Advice on how to compute more exactly; None where that is done already."""
        if self.bf16:
            return "compute without --bf16"
        return None if self.dtype == "float32" else "load it with --dtype float32"
