"""Features of a frozen language model: means of its hidden states over parts of a response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flames.errors import UsageError, need_extra
from flames.models.local import local_file
from flames.options import check_choice
from flames.scorers.frozen.gguf import Gguf
from flames.scorers.frozen.graph import LONGEST, Shape, build
from flames.scorers.frozen.tokens import Tokenizer
from flames.scorers.trained.backends import Ids, Shapes, processor, session
from flames.scorers.trained.encoding import Encoded
from flames.scorers.trained.engine import Engine, Pair

PRECISIONS = ("int8", "fp32")

_MASKED = -1e9

Floats = NDArray[np.float32]
Pooling = Callable[[int], Floats]
"""Turns a number of tokens into a matrix (segments × tokens) of weights that sum to 1."""


def equal_segments(count: int) -> Pooling:
    """Pools each of `count` equally long runs of tokens; of fewer tokens, some count twice."""

    def matrix(tokens: int) -> Floats:
        made = np.zeros((count, tokens), dtype=np.float32)
        for index in range(count):
            first = index * tokens // count
            last = max(first + 1, (index + 1) * tokens // count)
            made[index, first:last] = 1 / (last - first)
        return made

    return matrix


class Words(Protocol):
    """What turns text into token ids: those below `size` are tokens, `blank` stands for no text.

    `before` and `after` are the ids that every input starts and ends with.
    """

    size: int
    blank: int
    before: list[int]
    after: list[int]

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without those of an input's start and end."""


@dataclass(frozen=True)
class Reading:
    """How a prompt and a response are read: the response follows a frame with the prompt.

    The middle of what is too long is left out: of the frame beyond `prompt_tokens`, and of the
    response beyond its first `head` and last `tail` tokens.
    """

    frame: str = "问：{prompt}\n答："
    prompt_tokens: int = 160
    head: int = 160
    tail: int = 160

    def __post_init__(self) -> None:
        if min(self.prompt_tokens, self.head, self.tail) < 1 or self.frame.count("{prompt}") > 1:
            raise UsageError("a reading has some tokens of each part, and the prompt at most once")

    @property
    def longest(self) -> int:
        """The most tokens of an input, without those of its start and end."""
        return self.prompt_tokens + self.head + self.tail

    @property
    def needs_prompt(self) -> bool:
        """Whether the prompt is read at all."""
        return "{prompt}" in self.frame

    def row(self, words: Words, prompt: str, response: str) -> Encoded:
        """Encodes a pair; the response's ids are higher than its tokens by `words.size`."""
        before, found, after = self.frame.partition("{prompt}")
        framed = words.encode(before + (prompt if found else "") + after)
        half = self.prompt_tokens // 2
        framed, cut = _without_middle(framed, half, self.prompt_tokens - half)
        read, cut_too = _without_middle(
            words.encode(response) or [words.blank], self.head, self.tail
        )
        marked = [token + words.size for token in read]
        return Encoded([*words.before, *framed, *marked, *words.after], cut or cut_too)


class Features(NamedTuple):
    """Features (pairs × layers × segments × width), and whether each pair was read with a gap."""

    values: Floats
    cut: list[bool]


class Reader(Protocol):
    """A frozen model that turns pairs of prompt and response into features."""

    def features(self, pairs: Sequence[Pair]) -> Features:
        """Computes the features of pairs of prompt and response."""


class Backbone:
    """The first blocks of Gemma 3 on onnxruntime, one row per core at a time.

    Each row is computed alone, so its features are the same to the last bit whatever else is
    computed. The states of a token are divided by their root mean square before they are pooled.
    """

    def __init__(
        self,
        path: Path,
        layers: Sequence[int],
        *,
        pooling: Pooling,
        reading: Reading,
        precision: str = "int8",
        threads: int | None = None,
    ) -> None:
        check_choice("the precision", precision, PRECISIONS)
        file = Gguf(path)
        shape = Shape(file)
        if not layers or min(layers) < 1 or max(layers) > shape.blocks:
            raise UsageError(f"layers are numbers from 1 to {shape.blocks}, not {list(layers)}")
        if 1 + reading.longest > LONGEST:
            raise UsageError(f"a reading has at most {LONGEST} tokens, not {1 + reading.longest}")
        self._tokenizer = Tokenizer(file)
        self._reading = reading
        model = session(build(file, layers, precision), threads=1, extra="local")
        backend = _States(model, file, tuple(layers), pooling, self._tokenizer.size, threads)
        self._shape = (len(layers), len(pooling(1)), shape.width)
        # The smallest budget: a batch is one row.
        self._engine = Engine(backend, int(np.prod(self._shape)), pad_id=0, tokens=1)

    def features(self, pairs: Sequence[Pair]) -> Features:
        """Computes the features of pairs of prompt and response."""
        cut, values = self._engine.stream(pairs, self._encode)
        return Features(values.reshape(-1, *self._shape).astype(np.float32, copy=False), cut)

    def _encode(self, pairs: Sequence[Pair]) -> list[Encoded]:
        return [self._reading.row(self._tokenizer, *pair) for pair in pairs]


def _without_middle(ids: list[int], head: int, tail: int) -> tuple[list[int], bool]:
    if len(ids) <= head + tail:
        return ids, False
    return ids[:head] + ids[-tail:], True


def pooled(states: Floats, weights: Floats, epsilon: float) -> Floats:
    """Pools the states of tokens (tokens × width), each divided by its root mean square."""
    with np.errstate(over="ignore", invalid="ignore"):  # the caller sees what is not finite
        size = np.sqrt(np.square(states).mean(axis=1, keepdims=True) + np.float32(epsilon))
        found: Floats = weights @ (states / size)
    return found


class _States:
    """A backend: token ids of one row to features; ids of the response are `size` higher."""

    def __init__(self, model: Any, file: Gguf, layers: tuple[int, ...], pooling: Pooling,
                 size: int, threads: int | None) -> None:  # fmt: skip
        self.name = "onnxruntime"
        self.parallel = threads or processor().cores
        self.best = Shapes()
        self._model, self._pooling, self._size = model, pooling, size
        self._outputs = [f"state{layer}" for layer in layers]
        self._rows, self._unpacked = file.rows("token_embd.weight")
        shape = Shape(file)
        self._scale = np.float32(np.sqrt(shape.width))
        self._epsilon = shape.epsilon
        causal = np.where(np.tri(LONGEST, dtype=bool), 0, _MASKED).astype(np.float32)
        self._mask = causal.repeat(shape.heads, axis=0)
        self._heads = shape.heads

    def infer(self, ids: Ids, mask: Ids) -> Floats:
        """Computes the features of one row; see `Backend`."""
        count = ids.shape[1]
        of_response = np.flatnonzero(ids[0] >= self._size)
        plain = ids[0] - self._size * (ids[0] >= self._size)
        given = {
            "embedded": self._unpacked(self._rows[plain])[None] * self._scale,
            "mask": self._mask[None, : count * self._heads, :count],
        }
        weights = self._pooling(len(of_response))
        found = self._model.run(self._outputs, given)
        parts = [pooled(each[0, of_response], weights, self._epsilon) for each in found]
        return np.stack(parts).reshape(1, -1)


def load_backbone(
    layers: Sequence[int],
    *,
    file: Path | None = None,
    pooling: Pooling | None = None,
    reading: Reading | None = None,
    precision: str = "int8",
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Backbone:
    """Loads the model of the extra `local`; `say` gets its licence terms at first use.

    Args:
        layers: Whose states are pooled: after block 1, 2, …
        file: Another Gemma 3 in a GGUF file.
        pooling: How tokens become segments; thirds by default.
        reading: How prompt and response are read.
        precision: `int8`, or `fp32` to compare with.
        threads: Rows at the same time; one per core by default.
        say: Gets the licence terms of the model when it is set up.
    """
    need_extra("local", "the features of a language model", "onnxruntime")
    return Backbone(
        file or local_file(say),
        layers,
        pooling=pooling or equal_segments(3),
        reading=reading or Reading(),
        precision=precision,
        threads=threads,
    )


def text_embedder(say: Callable[[str], None]) -> Callable[[Sequence[str]], Floats]:
    """Returns what turns texts into vectors (texts × width) by the model of the extra `local`.

    It loads the model when it is called. A vector is the mean state of a text's tokens after the
    sixth block, where paraphrases are nearest to one another; the middle of a text beyond 256
    tokens is not read.
    """
    reading = Reading(frame="", prompt_tokens=1, head=128, tail=128)

    def embed(texts: Sequence[str]) -> Floats:
        backbone = load_backbone((6,), pooling=equal_segments(1), reading=reading, say=say)
        return backbone.features([("", text) for text in texts]).values[:, 0, 0]

    return embed
