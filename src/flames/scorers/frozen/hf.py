"""Features of a frozen transformers model, on torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flames.errors import UsageError, need_extra
from flames.scorers.frozen.backbone import Features, Floats, Pooling, Reading, pooled
from flames.scorers.trained.backbone import (
    keep_first,
    layers_of,
    load_backbone,
    longest_input,
    public_name,
    quiet,
)
from flames.scorers.trained.backends import Ids, OutOfMemoryError, Shapes
from flames.scorers.trained.encoding import TOKENIZER, Encoded, breaker
from flames.scorers.trained.engine import Engine, Pair

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_EPSILON = 1e-6
_GPU_TOKENS = 32768  # of a batch; a processor takes rows one by one, so that none changes another


class HfModel:
    """A pretrained model and its tokenizer, as loaded; `sha256` is that of both."""

    def __init__(self, name_or_path: str, *, dtype: str = "float32", device: Any = None) -> None:
        need_extra("hf", "a scorer on a frozen transformers model", "torch", "transformers")
        self.name = name_or_path
        self.model, self.tokenizer, self.pad_id = load_backbone(name_or_path, dtype=dtype)
        self.model = self.model.eval()
        if device is not None:
            self.model.to(device)

    @property
    def blocks(self) -> int:
        """How many layers it has."""
        return len(layers_of(self.model))

    def sha256(self) -> str:
        """Returns the checksum of all weights, and of the tokenizer."""
        import torch

        digest = hashlib.sha256(self.tokenizer.to_str().encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
        return digest.hexdigest()

    def save(self, folder: Path, layers: int) -> None:
        """Writes the first layers, from which `HfModel(folder)` is loaded again."""
        from transformers import PreTrainedTokenizerFast

        if layers < self.blocks:
            keep_first(self.model, layers)
        self.model.config.pad_token_id = self.pad_id
        self.model.config.name_or_path = public_name(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.model.save_pretrained(folder)
            PreTrainedTokenizerFast(tokenizer_object=self.tokenizer).save_pretrained(folder)
        self.tokenizer.save(str(folder / TOKENIZER))


class HfBackbone:
    """The first layers of a transformers model, whose states are pooled; see `Backbone`."""

    def __init__(
        self, source: HfModel, layers: Sequence[int], *, pooling: Pooling, reading: Reading
    ) -> None:
        if not layers or min(layers) < 1 or max(layers) > source.blocks:
            raise UsageError(f"layers are numbers from 1 to {source.blocks}, not {list(layers)}")
        self._words = HfWords(source.tokenizer, source.pad_id)
        fixed = len(self._words.before) + len(self._words.after)
        longest = longest_input(source.model.config)
        if longest is not None and fixed + reading.longest > longest:
            raise UsageError(
                f"{source.name} reads at most {longest} tokens, not {fixed + reading.longest}; "
                "give a smaller --max-length"
            )
        self._reading = reading
        width = int(source.model.config.hidden_size)
        self._shape = (len(layers), len(pooling(1)), width)
        backend = _HfStates(source.model, tuple(layers), pooling, self._words.size)
        tokens = 1 if source.model.device.type == "cpu" else _GPU_TOKENS
        size = int(np.prod(self._shape))
        self._engine = Engine(backend, size, pad_id=source.pad_id, tokens=tokens)

    def features(self, pairs: Sequence[Pair]) -> Features:
        """Computes the features of pairs of prompt and response."""
        cut, values = self._engine.stream(pairs, self._encode)
        return Features(values.reshape(-1, *self._shape).astype(np.float32, copy=False), cut)

    def _encode(self, pairs: Sequence[Pair]) -> list[Encoded]:
        return [self._reading.row(self._words, *pair) for pair in pairs]


class HfWords:
    """The ids of a text by a tokenizer of the library `tokenizers`; see `Words`.

    A special token that a text spells out is broken up, so that no response can end its own input.
    """

    def __init__(self, tokenizer: Tokenizer, blank: int) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer, self._broken_up = tokenizer, breaker(tokenizer)
        self.size = 1 + max(tokenizer.get_vocab().values(), default=0)
        self.blank = blank
        framed = tokenizer.encode("a")
        own = [place for place, special in enumerate(framed.special_tokens_mask) if not special]
        self.before = list(framed.ids[: own[0]]) if own else []
        self.after = list(framed.ids[own[-1] + 1 :]) if own else []

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without those of an input's start and end."""
        found = self._tokenizer.encode(self._broken_up(text), add_special_tokens=False)
        return list(found.ids)


class _HfStates:
    """A backend: token ids to features; ids of the response are `size` higher."""

    parallel = 1
    best = Shapes()

    def __init__(self, model: Any, layers: tuple[int, ...], pooling: Pooling, size: int) -> None:
        self.name = f"torch {str(model.dtype).removeprefix('torch.')} {model.device}"
        self._model, self._pooling, self._size = model, pooling, size
        self._found: dict[int, Any] = {}
        self._layers = layers
        for number, layer in enumerate(layers_of(model), start=1):
            if number in layers:
                layer.register_forward_hook(self._keeper(number))

    def _keeper(self, number: int) -> Any:
        # The model's own list of states has the last one after the final norm, no layer's output.
        def keep(module: Any, given: Any, out: Any) -> None:
            self._found[number] = out[0] if isinstance(out, tuple) else out

        return keep

    def infer(self, ids: Ids, mask: Ids) -> Floats:
        """Computes the features of a batch; see `Backend`."""
        import torch

        of_response = ids >= self._size
        plain = torch.from_numpy(ids - self._size * of_response).to(self._model.device)
        try:
            with torch.inference_mode():
                self._model(input_ids=plain, attention_mask=torch.from_numpy(mask).to(plain.device))
        except torch.OutOfMemoryError:
            where = f"a batch of {ids.shape[0]} × {ids.shape[1]} tokens"
            raise OutOfMemoryError(f"not enough memory for {where}") from None
        rows: list[list[Floats]] = [[] for _ in ids]
        for layer in self._layers:
            states = self._found.pop(layer).float().cpu().numpy()
            for row, own, each in zip(rows, of_response, states, strict=True):
                row.append(pooled(each[own], self._pooling(int(own.sum())), _EPSILON))
        return np.stack([np.stack(row).reshape(-1) for row in rows])
