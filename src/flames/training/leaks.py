"""Leaks: pairs in training that also occur, exactly or nearly, in a held-back part.

Pairs are compared by the character trigrams of their normalised texts. MinHash with banding
(Broder 1997; Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3) finds the
candidates in linear time; their true similarity decides.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flames.errors import UsageError
from flames.scorers.label_rows import Labelled
from flames.text import shorten
from flames.training.splits import Split

SAME = 0.8
"""The Jaccard similarity, of prompts and of responses, from which pairs count as the same."""

_BANDS, _ROWS = 20, 4  # finds a pair at the threshold with a probability of 99.997 %
_ORDER = 3
_Hashes = NDArray[np.uint64]


class Leak(NamedTuple):
    """A held-back row, and a (nearly) equal one that should be dropped."""

    kept: Labelled
    leaking: Labelled
    similarity: float


def find_leaks(kept: Sequence[Labelled], others: Sequence[Labelled]) -> list[Leak]:
    """Finds the rows of `others` that are (nearly) the same as one of `kept`, each once."""
    if not kept or not others:
        return []
    held = [_Shingled(row) for row in kept]
    buckets = _buckets(held)
    found = []
    for row in others:
        each = _Shingled(row)
        seen = {index for band in each.bands() for index in buckets.get(band, ())}
        best = max(((each.similarity(held[i]), -i) for i in seen), default=(0.0, 0))
        if best[0] >= SAME:
            found.append(Leak(kept[-best[1]], row, best[0]))
    return found


def near_same(rows: Sequence[Labelled]) -> list[tuple[int, int]]:
    """Finds the pairs of rows, by index, that are (nearly) the same."""
    held = [_Shingled(row) for row in rows]
    maybe = {
        pair for together in _buckets(held).values() for pair in itertools.combinations(together, 2)
    }
    return sorted((a, b) for a, b in maybe if held[a].similarity(held[b]) >= SAME)


def _buckets(held: Sequence[_Shingled]) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, each in enumerate(held):
        for band in each.bands():
            found[band].append(index)
    return found


def without_leaks(split: Split, *, drop: bool = False) -> tuple[Split, int]:
    """Checks a split for leaks: training against validation and test, validation against test.

    Returns the split without leaks, and how many rows were dropped. Without `drop`, a leak is a
    `UsageError`.
    """
    parts = {"training": split.training, "validation": split.validation, "test": split.test}
    dropped = 0
    for inner, outer in (("training", "test"), ("training", "validation"), ("validation", "test")):
        leaks = find_leaks(parts[outer].rows, parts[inner].rows)
        if leaks and not drop:
            raise UsageError(_message(leaks, inner, outer))
        gone = {id(leak.leaking) for leak in leaks}
        parts[inner] = parts[inner].of(row for row in parts[inner].rows if id(row) not in gone)
        dropped += len(gone)
    return replace(split, training=parts["training"], validation=parts["validation"]), dropped


def _message(leaks: Sequence[Leak], inner: str, outer: str) -> str:
    first = max(leaks, key=lambda leak: leak.similarity)
    a, b = first.leaking, first.kept
    text = shorten(a.response.response or "", 30)
    return (
        f"{len(leaks)} pairs of the {inner} part also occur, exactly or nearly, in the {outer} "
        f"part, for instance {text!r} of {shorten(a.key.model, 30)!r} "
        f"({a.where}) and of {shorten(b.key.model, 30)!r} ({b.where}); drop them from the "
        f"{inner} part with --drop-leaks"
    )


class _Shingled:
    """A row's trigrams: of prompt and response, and hashed together for the bands."""

    __slots__ = ("prompt", "response")

    def __init__(self, row: Labelled) -> None:
        self.prompt = _trigrams(row.response.prompt or "")
        self.response = _trigrams(row.response.response or "")

    def similarity(self, other: _Shingled) -> float:
        return min(_jaccard(self.prompt, other.prompt), _jaccard(self.response, other.response))

    def bands(self) -> list[tuple[int, int]]:
        marked = np.concatenate([self.prompt ^ _PROMPT, self.response])
        least = (marked[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]) >> np.uint64(20)
        signature = least.min(axis=1).reshape(_BANDS, _ROWS)
        mixed = (signature * _FACTORS[:_ROWS]).sum(axis=1, dtype=np.uint64)
        return list(enumerate(mixed.tolist()))


_rng = np.random.default_rng(20231112)
_FACTORS: _Hashes = 2 * _rng.integers(0, 2**63, _BANDS * _ROWS, dtype=np.uint64) + 1
_OFFSETS: _Hashes = _rng.integers(0, 2**63, _BANDS * _ROWS, dtype=np.uint64)
_PROMPT = np.uint64(0x9E3779B97F4A7C15)


def _trigrams(text: str) -> _Hashes:
    folded = unicodedata.normalize("NFKC", text).casefold()
    normalised = "".join(filter(str.isalnum, folded)) or folded.strip()
    codes = np.frombuffer(normalised.encode("utf-32-le", "replace"), dtype="<u4")
    codes = np.concatenate([np.zeros(_ORDER - 1, codes.dtype), codes]).astype(np.uint64)
    grams = np.zeros(max(len(codes) - _ORDER + 1, 0), dtype=np.uint64)
    for offset in range(_ORDER):
        grams = grams * np.uint64(0x100000001B3) + codes[offset : offset + len(grams)]
    return np.unique(grams)


def _jaccard(a: _Hashes, b: _Hashes) -> float:
    if not len(a) and not len(b):
        return 1.0
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)
