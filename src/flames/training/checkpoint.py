"""Reads a released checkpoint: PyTorch shards, without unpickling code, and its tokenizer.

The SentencePiece model becomes a `tokenizers.Tokenizer` that gives the same ids: unlike in general
converters, user-defined symbols are split off after normalization, as in SentencePiece itself.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flames.errors import InputError
from flames.scorers.trained.backbone import first_three, one_line

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

INDEX = "pytorch_model.bin.index.json"
_SINGLE = "pytorch_model.bin"
_ROTARY = re.compile(r"(?:^|\.)rotary_emb\.inv_freq$")


class Checkpoint:
    """The shards of a checkpoint, memory-mapped one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX
        self.listed = _weight_map(index) if index.is_file() else None
        if self.listed is not None:
            self.shards = sorted(set(self.listed.values()))
        elif (folder / _SINGLE).is_file():
            self.shards = [_SINGLE]
        else:
            raise InputError(f"has no weights: neither {INDEX} nor {_SINGLE}", path=folder)
        for shard in self.shards:
            if not (folder / shard).is_file():
                raise InputError(f"the shard {shard} is missing", path=folder)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields every tensor with its name, shard by shard."""
        for shard in self.shards:
            path = self.folder / shard
            tensors = _open(path)
            if self.listed is not None:
                listed = {name for name, where in self.listed.items() if where == shard}
                _refuse(path, "lacks tensors that the index lists", listed - set(tensors))
                _refuse(path, "has tensors that the index does not list", set(tensors) - listed)
            yield from sorted(tensors.items())

    def check(self, expected: Mapping[str, tuple[int, ...]], rotary_base: float) -> None:
        """Checks for exactly the expected tensors; the right rotary frequencies are allowed."""
        seen: set[str] = set()
        unknown, misshaped = set(), set()
        for name, tensor in self.tensors():
            if name in seen:
                raise InputError(f"the tensor {name} is in two shards", path=self.folder)
            seen.add(name)
            if is_derived(name):
                _check_rotary(name, tensor, rotary_base, self.folder)
            elif name not in expected:
                unknown.add(name)
            elif tuple(tensor.shape) != tuple(expected[name]):
                misshaped.add(f"{name} is {_shape(tensor.shape)}, not {_shape(expected[name])}")
        _refuse(self.folder, "tensors are missing", set(expected) - seen)
        _refuse(self.folder, "tensors that do not belong here", unknown)
        _refuse(self.folder, "tensors of the wrong shape", misshaped)


def is_derived(name: str) -> bool:
    """Returns whether a tensor follows from the configuration."""
    return bool(_ROTARY.search(name))


def _check_rotary(name: str, tensor: torch.Tensor, base: float, folder: Path) -> None:
    import torch

    width = 2 * tensor.numel()
    wanted = 1.0 / base ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    if not torch.allclose(tensor.float().flatten(), wanted, rtol=1e-2, atol=1e-3):
        raise InputError(f"{name} is not what the rotary base {base:g} gives", path=folder)


def _shape(shape: Any) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _refuse(path: Path, what: str, names: set[str]) -> None:
    if names:
        raise InputError(f"{what}: {first_three(sorted(names))}", path=path)


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = json.loads(index.read_text("utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("is no index of a checkpoint (no `weight_map`)", path=index) from None
    if not isinstance(found, dict) or not found:
        raise InputError("lists no tensors", path=index, field="weight_map")
    for name, shard in found.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise InputError(f"{name} is in no shard beside the index", path=index)
    return found


def _open(path: Path) -> dict[str, torch.Tensor]:
    import torch

    tensors: Any
    try:
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            tensors = torch.load(path, map_location="cpu", weights_only=True)  # an old format
    except pickle.UnpicklingError:
        message = "contains more than tensors and is refused: loading it would run its code"
        raise InputError(message, path=path) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"is no readable shard: {one_line(error)[:200]}", path=path) from None
    if isinstance(tensors, dict) and all(isinstance(t, torch.Tensor) for t in tensors.values()):
        return tensors
    raise InputError("is no mapping of names to tensors", path=path)


_NORMAL, _CONTROL, _SYMBOL = 1, 3, 4  # types of pieces in sentencepiece_model.proto
_UNIGRAM, _BPE = 1, 2
_SPACE = "▁"


def convert(path: str | Path) -> tuple[Tokenizer, tuple[str, ...]]:
    """Converts a SentencePiece `tokenizer.model`; returns it and the symbols that are not text."""
    messages: Any
    from sentencepiece import SentencePieceProcessor
    from sentencepiece import sentencepiece_model_pb2 as messages
    from tokenizers import Regex, Tokenizer, pre_tokenizers, processors

    proto: Any = messages.ModelProto()
    try:
        raw = Path(path).read_bytes()
        proto.ParseFromString(raw)
        original = SentencePieceProcessor(model_proto=raw)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except Exception as error:  # protobuf and sentencepiece raise all kinds
        raise InputError(f"is no SentencePiece model: {error}", path=path) from None
    if proto.trainer_spec.treat_whitespace_as_suffix:
        raise InputError("treats spaces as suffixes, which is not supported", path=path)
    if proto.trainer_spec.model_type not in (_UNIGRAM, _BPE):
        raise InputError("is neither a BPE nor a unigram model", path=path)
    tokenizer = Tokenizer(_model(proto))
    tokenizer.normalizer = _normalizer(proto)
    symbols = [piece.piece for piece in proto.pieces if piece.type == _SYMBOL]
    if symbols:
        spelt = sorted((s.replace(" ", _SPACE) for s in symbols), key=len, reverse=True)
        pattern = Regex("|".join(map(re.escape, spelt)))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    if (first := original.bos_id()) >= 0:
        begin = original.id_to_piece(first)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, first)]
        )
    control = [piece.piece for piece in proto.pieces if piece.type == _CONTROL]
    return tokenizer, (*control, *symbols)


def differing(path: str | Path, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """Returns the texts for which SentencePiece gives other ids than the converted tokenizer."""
    from sentencepiece import SentencePieceProcessor

    original = SentencePieceProcessor(model_file=str(path))
    return [
        text
        for text in texts
        if original.encode(text) != tokenizer.encode(text, add_special_tokens=False).ids
    ]


def _model(proto: Any) -> Any:
    from tokenizers import models

    if proto.trainer_spec.model_type == _UNIGRAM:
        return models.Unigram(
            [(piece.piece, piece.score) for piece in proto.pieces],
            unk_id=proto.trainer_spec.unk_id,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL}
    merges = [
        (-score, -cut, piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    return models.BPE(
        vocab={piece.piece: index for index, piece in enumerate(proto.pieces)},
        merges=[(left, right) for _, _, left, right in sorted(merges)],
        unk_token=proto.trainer_spec.unk_piece,
        fuse_unk=True,
        byte_fallback=proto.trainer_spec.byte_fallback,
        ignore_merges=True,  # a symbol is alone after the split and no product of merges
    )


def _normalizer(proto: Any) -> Any:
    from tokenizers import Regex, normalizers

    spec = proto.normalizer_spec
    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(_SPACE))
    steps.append(normalizers.Replace(" ", _SPACE))
    return normalizers.Sequence(steps)
