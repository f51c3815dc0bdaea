"""Sorting, batching and overlapping, whatever computes.

Which backend computes an exported model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from flames.errors import MissingExtraError, UsageError
from flames.scorers.trained.backend import Backend, Logits, OutOfMemoryError, Processor, processor
from flames.scorers.trained.encoding import Encoded, pad
from flames.scorers.trained.onnxruntime_backend import OnnxRuntime
from flames.scorers.trained.openvino_backend import OpenVino
from flames.scorers.trained.settings import Side

CHUNK = 256
TOKENS = 1024

Pair = tuple[str, str]
Encode = Callable[[Sequence[Pair]], list[Encoded]]


class Engine:
    """Computes the logits of any number of inputs: sorted by length, filled up to a budget.

    A batch that does not fit into memory is halved, and so is the budget of those after it. A
    row's logits do not depend on which others it was computed with.

    Args:
        backend: What computes.
        classes: How many logits a row has.
        pad_id: The token that batches are filled up with.
        padding_side: Where they are filled up.
        tokens: Most tokens a batch, padding included; a longer row is a batch of its own.
        chunk: How many rows are encoded, sorted and computed together; the next ones are
            encoded meanwhile.
    """

    def __init__(
        self,
        backend: Backend,
        classes: int,
        *,
        pad_id: int = 0,
        padding_side: Side = "right",
        tokens: int = TOKENS,
        chunk: int = CHUNK,
    ) -> None:
        self.backend = backend
        self.tokens = tokens
        self.chunk = chunk
        self._classes = classes
        self._pad_id = pad_id
        self._side: Side = padding_side
        self._lock = threading.Lock()

    def stream(self, pairs: Sequence[Pair], encode: Encode) -> tuple[list[bool], Logits]:
        """Encodes and computes pairs, the next chunk being encoded while one is computed.

        Args:
            pairs: Prompts and responses.
            encode: Makes token ids of them.

        Returns:
            Whether each input was shortened, and the logits (pairs × all classes).
        """
        starts = range(0, len(pairs), self.chunk)
        chunks = (pairs[start : start + self.chunk] for start in starts)
        shortened: list[bool] = []
        parts = [np.zeros((0, self._classes), dtype=np.float32)]
        with ThreadPoolExecutor(1, "encode") as ahead:
            coming: Future[list[Encoded]] | None = None
            for chunk in chunks:
                following = ahead.submit(encode, chunk)
                if coming is not None:
                    self._take(coming.result(), shortened, parts)
                coming = following
            if coming is not None:
                self._take(coming.result(), shortened, parts)
        return shortened, np.concatenate(parts)

    def _take(self, rows: list[Encoded], shortened: list[bool], parts: list[Any]) -> None:
        shortened.extend(row.truncated for row in rows)
        parts.append(self.compute(rows))

    def compute(self, rows: Sequence[Encoded]) -> Logits:
        """Computes rows of token ids.

        Args:
            rows: What an encoder made.

        Returns:
            Logits (rows × all classes), in the rows' order.

        Raises:
            OutOfMemoryError: A single row does not fit into memory.
        """
        logits = np.zeros((len(rows), self._classes), dtype=np.float32)

        def solve(batch: list[int]) -> None:
            logits[batch] = self._infer([rows[index].ids for index in batch])

        batches = self._batches([len(row.ids) for row in rows])
        if self.backend.parallel == 1:
            for batch in batches:
                solve(batch)
            return logits
        with ThreadPoolExecutor(self.backend.parallel, "compute") as pool:
            waiting: list[Future[None]] = []
            for batch in batches:
                waiting.append(pool.submit(solve, batch))
                if len(waiting) > 2 * self.backend.parallel:
                    waiting.pop(0).result()  # so that a smaller budget reaches the next batches
            for each in waiting:
                each.result()
        return logits

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows by falling length, in batches of at most `tokens` tokens with their padding.

        The batches are of like size and as many for each of those that compute, so that none
        waits for another at the end.
        """
        order = np.argsort(-np.asarray(lengths), kind="stable")
        sizes = np.maximum(np.asarray(lengths, dtype=np.int64)[order], 1)
        total, step = int(sizes.sum()), self.backend.parallel
        middles = np.cumsum(sizes) - sizes / 2
        count = max(1, -(-total // (self.tokens * step))) * step
        while True:
            shares = total * np.arange(1, count) / count
            parts = [p for p in np.split(order, np.searchsorted(middles, shares)) if len(p)]
            starts = np.cumsum([0, *map(len, parts)])[:-1]
            if all(len(p) == 1 or len(p) * sizes[s] <= self.tokens
                   for p, s in zip(parts, starts, strict=True)):  # fmt: skip
                return [part.tolist() for part in parts]
            count += step

    def _infer(self, rows: list[list[int]]) -> Logits:
        """Computes rows of falling length, in smaller pieces where memory does not suffice."""
        parts, start = [], 0
        while start < len(rows):
            count = max(1, self.tokens // max(1, len(rows[start])))
            batch = rows[start : start + count]
            try:
                parts.append(self.backend.infer(*pad(batch, self._pad_id, self._side)))
            except OutOfMemoryError:
                if len(batch) == 1:
                    raise
                with self._lock:
                    self.tokens = min(self.tokens, len(batch) // 2 * len(batch[0]))
                continue
            start += len(batch)
        return np.concatenate(parts)


_MAKERS: Mapping[str, Callable[[Path, str, int | None], Backend]] = {
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
}
_CAN = {"openvino": ("int8", "bf16", "fp32"), "onnxruntime": ("int8", "fp32")}


def available() -> tuple[str, ...]:
    """The backends that are installed, the faster one first."""
    return tuple(name for name in _MAKERS if find_spec(name) is not None)


def choose(
    faithful: Iterable[str],
    there: Iterable[str] = ("int8", "bf16", "fp32"),
    *,
    backend: str | None = None,
    precision: str | None = None,
    cpu: Processor | None = None,
    present: tuple[str, ...] | None = None,
) -> tuple[str, str, str | None]:
    """The best pair of backend and precision.

    Args:
        faithful: What may be used unasked: those whose labels agree with the original's.
        there: What was exported; the most exact of it is used where nothing else may be.
        backend: `openvino` or `onnxruntime`; the fastest that is installed unless given.
        precision: `int8`, `bf16` or `fp32`; the fastest that the processor computes in
            hardware unless given.
        cpu: This machine's processor unless given.
        present: The installed backends unless given.

    Returns:
        Backend, precision, and what could not be had, in words, or None.

    Raises:
        MissingExtraError: No backend is installed.
        UsageError: That backend is unknown or missing, or cannot compute that precision.
    """
    cpu = cpu or processor()
    present = available() if present is None else present
    if not present:
        raise MissingExtraError("cpu", "an exported scorer")
    if backend is not None and backend not in _MAKERS:
        raise UsageError(f"unknown backend {backend!r}; one of: {', '.join(_MAKERS)}")
    if backend is not None and backend not in present:
        raise MissingExtraError("cpu", f"the backend {backend}")
    chosen = backend or present[0]
    if precision is not None:
        if precision not in _CAN[chosen]:
            can = ", ".join(_CAN[chosen])
            raise UsageError(f"{chosen} computes {can}, not {precision!r}")
        lacks = precision == "bf16" and not cpu.bf16
        return chosen, "fp32" if lacks else precision, _lack("bf16") if lacks else None
    allowed, known = set(faithful), set(there)
    lack = None
    for each in _CAN[chosen]:
        if each not in allowed & known:
            continue
        if (each == "int8" and not cpu.int8) or (each == "bf16" and not cpu.bf16):
            lack = lack or _lack(each)
            continue
        return chosen, each, lack
    return chosen, "fp32" if "fp32" in known else "int8", lack


def _lack(precision: str) -> str:
    units = {"int8": "VNNI", "bf16": "avx512_bf16 or AMX"}
    return f"this processor has no {units[precision]}, so {precision} is not used: slower, as exact"


def open_backend(name: str, path: Path, precision: str, threads: int | None = None) -> Backend:
    """Opens a model with a backend.

    Raises:
        InputError: The model cannot be read.
        MissingExtraError: The backend is not installed.
    """
    return _MAKERS[name](path, precision, threads)
