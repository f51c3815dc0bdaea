"""Options for training a scorer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from flames.errors import UsageError
from flames.options import Opt, SeedOptions, listed, wrong_value
from flames.scorers.labelled import LabelFiles
from flames.scorers.trained.settings import TEMPLATES, Pooling, fillable

Progress = Callable[[str, float], None]
"""Called with what is being done and how far it is, from 0 to 1."""


FROZEN_TEMPLATE = "问：{prompt}\n答：{response}"
FROZEN_LENGTH = 481
"""Input of a frozen backbone unless given: a start, and three parts of 160 tokens."""


def parse_layers(text: str) -> tuple[int, ...]:
    """Reads `6,9,12`."""
    parts = [part.strip() for part in re.split("[,，、]", text)]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise wrong_value("--layers", "numbers of layers", text)
    return tuple(map(int, parts))


def parse_weights(given: Sequence[str]) -> dict[str, float]:
    """Reads `FILE=NUMBER`, several times."""
    weights: dict[str, float] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise wrong_value("--weight", "FILE=NUMBER, as in labels:silver=0.5", text)
    return weights


@dataclass(frozen=True)
class TrainFiles:
    """What `flames scorer train` reads and writes."""

    labels: LabelFiles
    out: Annotated[Path, Opt("Folder of the new scorer.", metavar="DIR")]
    resume: Annotated[bool, Opt("Continue the unfinished training in --out.")] = False
    dry_run: Annotated[
        bool, Opt("Check everything and print what would run: processes, batches, memory.")
    ] = False


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
        str | None,
        Opt(
            f"Backbone input: {listed(TEMPLATES)}, or a text with {{prompt}} and {{response}}; "
            f"paper by default, with --frozen {FROZEN_TEMPLATE!r}.",
            metavar="TEXT",
        ),
    ] = None
    max_length: Annotated[
        int | None,
        Opt("Longest input in tokens; 512 by default, with --frozen 481.", metavar="N", min=16),
    ] = None
    pooling: Annotated[
        Pooling | None,
        Opt("State that the heads read; by default cls for an encoder, last for a decoder."),
    ] = None
    segments: Annotated[
        int,
        Opt("With --frozen: equal parts of the response whose states are averaged.", min=1, max=16),
    ] = 3
    weights: Annotated[
        Mapping[str, float],
        Opt(
            "Weight of the rows of one --labels file, 1 unless given (labels:silver=0.5); may be "
            "repeated.",
            flag="--weight",
            metavar="FILE=NUMBER",
            parse=parse_weights,
            repeat=True,
        ),
    ] = field(default_factory=dict)
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
        bool,
        Opt("Weight the classes of each dimension so that all count the same; always, with "
            "--frozen."),
    ] = False  # fmt: skip
    layers: Annotated[
        tuple[int, ...] | None,
        Opt(
            "Keep only the backbone's first N layers; with --frozen, read the states after these "
            "layers, by default after the middle one.",
            metavar="N|A,B",
            parse=parse_layers,
        ),
    ] = None
    train_layers: Annotated[
        int | None, Opt("Train only the last N layers and the heads.", metavar="N", min=0)
    ] = None
    frozen: Annotated[
        bool, Opt("Keep the backbone as it is and fit heads on its states: minutes on a CPU.")
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
    attention: Annotated[
        Literal["auto", "sdpa", "flash", "eager"],
        Opt("Attention; auto is flash attention 2 where it is installed and fits, else sdpa."),
    ] = "auto"
    packing: Annotated[
        bool, Opt("Put the examples of a batch into rows without padding; same results.")
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
        given = self.template or (FROZEN_TEMPLATE if self.frozen else "paper")
        template = TEMPLATES.get(given, given)
        if not fillable(template):
            takes = f"{', '.join(TEMPLATES)}, or a text with {{response}} once and {{prompt}} at "
            raise wrong_value("--template", f"{takes}most once", given)
        object.__setattr__(self, "template", template)
        if self.layers is not None and (min(self.layers, default=0) < 1 or self._too_many):
            takes = "numbers of layers, from 1 on" if self.frozen else "a number of layers"
            raise wrong_value("--layers", takes, ",".join(map(str, self.layers)))
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise wrong_value(f"--weight {name}", "a number above 0", weight)
        trains = {
            "--lora-rank": self.lora_rank,
            "--train-layers": self.train_layers is not None,
            "--fsdp": self.fsdp,
        }
        for flag, unfit in trains.items():
            if unfit and self.frozen:
                raise UsageError(f"{flag} trains the backbone, --frozen does not; omit one of them")
        if self.frozen and self.pooling is not None:
            raise UsageError("--frozen averages states over --segments; omit --pooling")
        if self.frozen and self.bf16:
            raise UsageError("--frozen computes as weights are loaded; use --dtype bfloat16")

    @property
    def _too_many(self) -> bool:
        return not self.frozen and len(self.layers or ()) > 1

    @property
    def form(self) -> str:
        """The backbone's input, with `{response}`."""
        return self.template or ""

    @property
    def longest(self) -> int:
        """The longest input in tokens."""
        return self.max_length or (FROZEN_LENGTH if self.frozen else 512)

    @property
    def first_layers(self) -> int | None:
        """How many of the backbone's layers are kept; None for all."""
        return None if self.layers is None else self.layers[0]

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
