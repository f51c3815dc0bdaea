"""The engine sorts and batches inputs for any backend, and picks the backend of an export."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flames.errors import MissingExtraError
from flames.options import check_choice
from flames.scorers.trained.backends import (
    Backend,
    Logits,
    OnnxRuntime,
    OpenVino,
    OutOfMemoryError,
    Processor,
    processor,
)
from flames.scorers.trained.encoding import Encoded, pad
from flames.scorers.trained.settings import ScorerSettings, Side

Pair = tuple[str, str]
Sizes = NDArray[np.int64]

_WIDER = 1.125  # more padding than this would cost more than full tiles save
Encode = Callable[[Sequence[Pair]], list[Encoded]]


@dataclass(eq=False)
class Engine:
    """Computes the logits of any number of inputs in batches of similar length.

    A batch that does not fit into memory is halved, and so is the budget of later batches. A
    row's logits do not depend on the other rows.

    Args:
        classes: Logits per row.
        tokens: Most tokens per batch, padding included; a longer row is a batch of its own. By
            default what the backend computes fastest.
        chunk: Rows that are encoded, sorted and computed together; by default enough for all
            parallel workers.
        widest: Tokens per row that a model has positions for, if it is limited.
    """

    backend: Backend
    classes: int
    _: KW_ONLY
    pad_id: int = 0
    padding_side: Side = "right"
    tokens: int = 0
    chunk: int = 0
    widest: int | None = None

    def __post_init__(self) -> None:
        self.tokens = self.tokens or self.backend.best.budget
        self.chunk = self.chunk or max(256, 64 * self.backend.parallel)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, backend: Backend, settings: ScorerSettings, **sizes: int) -> Engine:
        """Builds the engine of a scorer; `sizes` are `tokens` and `chunk`."""
        return cls(
            backend,
            sum(settings.sizes),
            pad_id=settings.pad_id,
            padding_side=settings.padding_side,
            widest=settings.max_length,
            **sizes,
        )

    def stream(self, pairs: Sequence[Pair], encode: Encode) -> tuple[list[bool], Logits]:
        """Encodes pairs ahead of computing them; returns whether each was shortened, and logits."""
        shortened: list[bool] = []
        parts = [np.zeros((0, self.classes), dtype=np.float32)]
        chunks = [pairs[start : start + self.chunk] for start in range(0, len(pairs), self.chunk)]
        with ThreadPoolExecutor(1, "encode") as ahead:
            # One chunk ahead and no more: token ids take many times the memory of their text.
            waiting = deque(ahead.submit(encode, chunk) for chunk in chunks[:1])
            for number in range(1, len(chunks) + 1):
                waiting.extend(ahead.submit(encode, chunk) for chunk in chunks[number : number + 1])
                rows = waiting.popleft().result()
                shortened.extend(row.truncated for row in rows)
                parts.append(self.compute(rows))
        return shortened, np.concatenate(parts)

    def compute(self, rows: Sequence[Encoded]) -> Logits:
        """Computes the logits (rows × all classes) of rows of token ids, in their order."""
        logits = np.zeros((len(rows), self.classes), dtype=np.float32)

        lengths = np.maximum(np.array([len(row.ids) for row in rows], dtype=np.int64), 1)
        even = self.backend.best.tokens == 1
        share = self.tokens if even else -(-int(lengths.sum()) // self.backend.parallel)

        def solve(batch: list[int]) -> None:
            logits[batch] = self._infer([rows[index].ids for index in batch], share)

        batches = self._even(lengths) if even else self._in_tiles(lengths, share)
        if self.backend.parallel == 1:
            for batch in batches:
                solve(batch)
        else:
            with ThreadPoolExecutor(self.backend.parallel, "compute") as pool:
                list(pool.map(solve, batches))  # raises the first error of a worker
        return logits

    def _even(self, lengths: Sizes) -> list[list[int]]:
        """Rows by falling length, in batches of at most `tokens` tokens including padding.

        They are of similar size, and as many for each parallel worker, so that none has to wait.
        """
        order = np.argsort(-lengths, kind="stable")
        sizes = lengths[order]
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

    def _in_tiles(self, lengths: Sizes, share: int) -> list[list[int]]:
        """Rows by falling length, in batches of the backend's best shapes, as large as allowed.

        The smallest come last, so that parallel workers end at nearly the same time.
        """
        order = np.argsort(-lengths, kind="stable").tolist()
        found = []
        while order:
            _, count = self._shape(int(lengths[order[0]]), share)
            found.append(order[:count])
            order = order[count:]
        return found

    def _shape(self, longest: int, share: int) -> tuple[int, int]:
        """Returns how wide a batch with this longest row is, and how many rows it may have.

        A batch has at most a worker's share of all tokens.
        """
        best, most = self.backend.best, min(self.tokens, share)
        narrowest, *wider = (self._rounded(longest, times * best.width) for times in (1, 2, 4))
        for width in (narrowest, *wider):
            step = best.tokens // math.gcd(best.tokens, width)  # rows that fill whole tiles
            if step * width <= most and width <= _WIDER * narrowest:
                return width, most // width // step * step
        return narrowest, max(1, most // narrowest)

    def _rounded(self, longest: int, unit: int) -> int:
        width = -(-longest // unit) * unit
        return width if self.widest is None else min(width, max(longest, self.widest))

    def _infer(self, rows: list[list[int]], share: int) -> Logits:
        parts, start = [], 0
        while start < len(rows):
            width, count = self._shape(max(1, len(rows[start])), share)
            batch = rows[start : start + count]
            try:
                parts.append(self.backend.infer(*pad(batch, self.pad_id, self.padding_side, width)))
            except OutOfMemoryError:
                if len(batch) == 1:
                    raise
                with self._lock:
                    self.tokens = min(self.tokens, len(batch) // 2 * width)
                continue
            start += len(batch)
        return np.concatenate(parts)


_BACKENDS: Mapping[str, Callable[[Path, str, int | None], Backend]] = {
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
}
_COMPUTES = {"openvino": ("int8", "bf16", "fp32"), "onnxruntime": ("int8", "fp32")}
_UNITS = {"int8": "VNNI", "bf16": "avx512_bf16 or AMX"}
_OVERFLOW = (
    "this processor has no VNNI: int8 may overflow and change labels, unless the export was made "
    "on a processor without it"
)


def available() -> tuple[str, ...]:
    """Returns the backends that are installed, the faster one first."""
    return tuple(name for name in _BACKENDS if find_spec(name) is not None)


def choose(
    faithful: Iterable[str],
    exported: Iterable[str] = ("int8", "bf16", "fp32"),
    *,
    backend: str | None = None,
    precision: str | None = None,
    cpu: Processor | None = None,
    present: tuple[str, ...] | None = None,
) -> tuple[str, str, str | None]:
    """Chooses backend and precision of an export; by default the fastest that fit.

    Only `faithful` precisions, whose labels agree with the original's, are used unasked, or else
    the most exact. The third value is a note on what the processor lacks, or None.
    """
    cpu = cpu or processor()
    present = available() if present is None else present
    if not present:
        raise MissingExtraError("cpu", "an exported scorer")
    if backend is not None and backend not in present:
        raise MissingExtraError("cpu", f"the backend {backend}")
    chosen = backend or present[0]
    computes = _COMPUTES[chosen]
    if precision is not None:
        check_choice(f"the scorer option precision, with {chosen},", precision, computes)
        if precision == "bf16" and not cpu.bf16:
            return chosen, "fp32", _lack("bf16")
        overflows = precision == "int8" and not cpu.int8
        return chosen, precision, _OVERFLOW if overflows else None
    faithful, exported = set(faithful), set(exported)
    usable = [each for each in computes if each in faithful & exported]
    slow = {name for name, fast in (("int8", cpu.int8), ("bf16", cpu.bf16)) if not fast}
    exact = "fp32" if "fp32" in exported else "int8"
    lack = _lack(usable[0]) if usable and usable[0] in slow else None
    return chosen, next((each for each in usable if each not in slow), exact), lack


def _lack(precision: str) -> str:
    return (
        f"this processor has no {_UNITS[precision]}, so {precision} is not used: slower, as exact"
    )


def open_backend(name: str, path: Path, precision: str, threads: int | None = None) -> Backend:
    """Opens a model with a backend."""
    return _BACKENDS[name](path, precision, threads)
