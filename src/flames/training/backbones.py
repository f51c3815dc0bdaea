"""Frozen backbones to train heads on: the model of the extra `local`, GGUF files, transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flames.errors import UsageError, need_extra
from flames.models.local import GEMMA_SHA256
from flames.scorers.frozen.backbone import Reader, Reading, equal_segments, load_backbone
from flames.scorers.frozen.gguf import Gguf
from flames.scorers.frozen.graph import Shape
from flames.scorers.frozen.model import BACKBONE, GGUF, FrozenSettings, Runs
from flames.scorers.trained.backbone import public_name
from flames.storage.checksums import file_sha256
from flames.training.options import TrainOptions

_GEMMA_NAME = FrozenSettings.model_fields["backbone_name"].default


@dataclass(frozen=True)
class Source:
    """A frozen backbone, ready to read, and what a scorer must say of it.

    `keep` puts into the folder of a scorer what it needs of the backbone; `dtype` is that of its
    weights.
    """

    reader: Reader
    name: str
    sha256: str
    runs: Runs
    layers: tuple[int, ...]
    reading: Reading
    segments: int
    dtype: str = "int8"
    keep: Callable[[Path], None] = lambda folder: None


def reading_of(options: TrainOptions) -> Reading:
    """Returns how prompt and response are read: each part gets a third of the longest input."""
    frame, found, after = options.form.partition("{response}")
    if after or not found:
        raise UsageError(
            "--frozen reads the response last: give a --template that ends with {response}"
        )
    part = (options.longest - 1) // 3
    return Reading(frame=frame, prompt_tokens=part, head=part, tail=part)


def open_source(options: TrainOptions) -> Source:
    """Opens the backbone of a training with `--frozen`; a Gemma 3 in a GGUF file needs no torch."""
    path, reading = Path(options.backbone), reading_of(options)
    pooling = equal_segments(options.segments)
    if path.suffix == ".gguf" and path.is_file():
        need_extra("local", "a frozen backbone without torch", "onnxruntime", "safetensors")
        file = Gguf(path)
        if _runs_here(file):
            if options.device not in (None, "cpu"):
                raise UsageError(
                    f"--device {options.device}: this backbone is read on the processor"
                )
            layers = _layers(options.layers, Shape(file).blocks)
            sha256 = file_sha256(path)
            local = sha256 == GEMMA_SHA256
            return Source(
                load_backbone(layers, file=path, pooling=pooling, reading=reading),
                _GEMMA_NAME if local else path.name,
                sha256, "local" if local else "gguf", layers, reading, options.segments,
                keep=_nothing if local else _copying(path),
            )  # fmt: skip
    need_extra("train", "--frozen on a transformers model", "torch", "transformers")
    from flames.scorers.frozen.hf import HfBackbone, HfModel
    from flames.scorers.trained.load import pick_device

    model = HfModel(options.backbone, dtype=options.dtype, device=pick_device(options.device))
    sha256 = model.sha256()
    layers = _layers(options.layers, model.blocks)
    reader = HfBackbone(model, layers, pooling=pooling, reading=reading)

    def keep(folder: Path) -> None:
        model.save(folder / BACKBONE, max(layers))

    return Source(
        reader, public_name(options.backbone), sha256, "torch", layers, reading, options.segments,
        options.dtype, keep,
    )  # fmt: skip


def _runs_here(file: Gguf) -> bool:
    fields = file.fields
    kind = fields.get("general.architecture")
    return kind == "gemma3" and fields.get("gemma3.attention.head_count_kv") == 1


def _layers(given: Sequence[int] | None, blocks: int) -> tuple[int, ...]:
    """The layers to read; the middle one unless given."""
    return tuple(sorted(set(given))) if given else (max(1, blocks // 2),)


def _nothing(folder: Path) -> None:
    pass


def _copying(path: Path) -> Callable[[Path], None]:
    def keep(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / GGUF)

    return keep
