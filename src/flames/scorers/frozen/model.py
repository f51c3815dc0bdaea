"""The heads over a frozen language model, and the folder that holds them."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flames.errors import InputError, UsageError, need_extra
from flames.metrics.result import Note
from flames.models.local import GEMMA_SHA256
from flames.records import Frozen
from flames.scorers.frozen import WEIGHTS
from flames.scorers.frozen.backbone import Reader, Reading, equal_segments, load_backbone
from flames.scorers.heads import Heads
from flames.scorers.lexical import LEXICAL, bundled_model
from flames.scorers.trained.settings import CONFIG, parse_section, read_config
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256

Floats = NDArray[np.float32]
Runs = Literal["local", "gguf", "torch"]

GGUF = "backbone.gguf"
BACKBONE = "backbone"
"""Names of the backbone in the folder of a scorer: a file, or a folder."""

WORDS = "words.npz"
_LARGEST = 127  # n-grams' weights have 8 bits and a scale per class


class FrozenHead(Frozen, extra="ignore"):
    """A head: its scale, and the slice of the classes of all heads (first, last + 1)."""

    scale: Annotated[tuple[int, ...], Field(min_length=2)]
    classes: tuple[int, int]


class FrozenSettings(Frozen, extra="ignore"):
    """What a scorer of heads over a frozen model is, beside its weights.

    Args:
        backbone: SHA-256 of the model whose states are read.
        backbone_name: What people call it.
        runs: Where it is: `local`, the model of that extra; `gguf`, a file in the folder that runs
            like it, without torch; `torch`, a transformers model in the folder.
        layers: The blocks after which states are read.
        segments: Equal parts of the response whose states are averaged.
        reading: How prompt and response are read.
        abstains: Whether texts that are not Chinese, or unlike those of the bundled labels, are
            unscored.
        lexical: The bundled scorer (its id) whose n-grams of the response are read too, if any.
        factor: Probabilities are the softmax of the scores times this.
    """

    kind: Literal["frozen"] = "frozen"
    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    version: str
    taxonomy: str
    backbone: str
    backbone_name: str = "Gemma 3 270M"
    runs: Runs = "local"
    layers: Annotated[tuple[int, ...], Field(min_length=1)]
    segments: Annotated[int, Field(ge=1)] = 3
    reading: Reading = Reading()
    abstains: bool = True
    lexical: str | None = None
    heads: dict[str, FrozenHead]
    factor: float
    notes: tuple[Note, ...] = ()
    card: dict[str, Any] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name and version, as in verdicts."""
        return f"{self.name}@{self.version}"

    @property
    def places(self) -> Heads:
        """Scale and classes of each head."""
        return {name: (head.scale, head.classes) for name, head in self.heads.items()}


@dataclass(frozen=True)
class FrozenModel:
    """Settings with weights: features are standardised, then every head's scores are linear.

    `mean` and `scale` have a value per feature (layers × segments × width), `weights` a row per
    feature and a column per class of all heads, `bias` a value per class. `words` are weights of
    the response's n-grams (see `LexicalModel.features`). `folder` is where it was read from.
    """

    settings: FrozenSettings
    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    words: Floats | None = None
    folder: Path | None = None

    def scores(self, features: Floats, texts: Sequence[str]) -> Floats:
        """Returns the scores of all heads' classes (rows × classes).

        Args:
            features: States (rows × layers × segments × width).
            texts: The responses, whose n-grams are read.
        """
        flat = features.reshape(len(features), -1)
        found = ((flat - self.mean) / self.scale) @ self.weights + self.bias
        if self.words is not None:
            found = found + bundled_model().features(texts) @ self.words
        return np.asarray(found, dtype=np.float32)

    def backbone(self, say: Callable[[str], None]) -> Reader:
        """Loads the model whose states are read; `say` gets its licence terms at first use."""
        settings = self.settings
        pooling = equal_segments(settings.segments)
        if settings.runs == "torch":
            from flames.scorers.frozen.hf import HfBackbone, HfModel
            from flames.scorers.trained.load import pick_device

            source = HfModel(str(self._part(BACKBONE)), dtype="auto", device=pick_device())
            return HfBackbone(source, settings.layers, pooling=pooling, reading=settings.reading)
        file = self._part(GGUF) if settings.runs == "gguf" else None
        sha256 = GEMMA_SHA256 if file is None else file_sha256(file)
        if settings.backbone != sha256:
            where = "that of the extra `local`" if file is None else f"{GGUF} in its folder"
            raise UsageError(
                f"{settings.id} reads another model than {where} "
                f"(SHA-256 {settings.backbone[:12]}…)"
            )
        return load_backbone(
            settings.layers, file=file, pooling=pooling, reading=settings.reading, say=say
        )

    def _part(self, name: str) -> Path:
        path = (self.folder or Path()) / name
        if self.folder is None or not path.exists():
            raise InputError(f"is no complete scorer: it has no {name}", path=self.folder)
        return path

    def to_bytes(self) -> bytes:
        """Returns the weights as a safetensors file."""
        from safetensors.numpy import save

        arrays: dict[str, Any] = {
            "mean": self.mean.astype(np.float32),
            "scale": self.scale.astype(np.float32),
            "weights": self.weights.astype(np.float16),
            "bias": self.bias.astype(np.float32),
        }
        return bytes(save(arrays))

    def save(self, folder: Path) -> None:
        """Writes the folder: weights first, then `config.json`, each whole or not at all."""
        write_atomic(folder / WEIGHTS, self.to_bytes())
        if self.words is not None:
            write_atomic(folder / WORDS, _packed(self.words))
        config = self.settings.model_dump(mode="json", by_alias=True)
        text = json.dumps(config, ensure_ascii=False, indent=1)
        write_atomic(folder / CONFIG, text + "\n")


def _packed(words: Floats) -> bytes:
    step = np.maximum(np.abs(words).max(axis=0), 1e-12) / _LARGEST
    file = io.BytesIO()
    whole = np.round(words / step).astype(np.int8)
    np.savez_compressed(file, weights=whole, scale=step.astype(np.float32))
    return file.getvalue()


def _words(path: Path, classes: int) -> Floats:
    try:
        # Read whole: NumPy does not close a file that turns out to be broken.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            words = arrays["weights"].astype(np.float32) * arrays["scale"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"is broken: {error}", path=path) from None
    if words.shape != (bundled_model().weights.shape[0], classes) or not np.isfinite(words).all():
        raise InputError("is broken: weights of the wrong shape, or not finite", path=path)
    return np.asarray(words)


def read_frozen(folder: str | Path) -> FrozenModel:
    """Reads the folder that `FrozenModel.save` wrote."""
    path, config = read_config(folder)
    settings = parse_section(FrozenSettings, config, "scorer", path)
    if settings.lexical not in (None, LEXICAL):
        raise UsageError(
            f"{settings.id} reads the n-grams of {settings.lexical}, and {LEXICAL} is here: train "
            "it anew, or install the version of Flames that it was trained with"
        )
    extra, runtime = ("hf", "torch") if settings.runs == "torch" else ("local", "onnxruntime")
    need_extra(extra, "a scorer on a frozen language model", "safetensors", runtime)
    from safetensors import SafetensorError
    from safetensors.numpy import load

    weights = Path(folder) / WEIGHTS
    try:
        arrays = load(weights.read_bytes())
        parts = [arrays[name].astype(np.float32) for name in ("mean", "scale", "weights", "bias")]
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"is broken: {error}", path=weights) from None
    classes = max(head.classes[1] for head in settings.heads.values())
    features, finite = len(parts[0]), all(np.isfinite(part).all() for part in parts)
    shapes = [part.shape for part in parts]
    if not finite or shapes != [(features,), (features,), (features, classes), (classes,)]:
        raise InputError("is broken: weights of the wrong shape, or not finite", path=weights)
    mean, scale, columns, bias = parts
    words = _words(Path(folder) / WORDS, classes) if settings.lexical else None
    return FrozenModel(settings, mean, scale, columns, bias, words, Path(folder))
