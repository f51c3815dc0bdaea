"""How alike prompts are, by n-grams or vectors, and the nearly equal pairs of a large set."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float32]

GRAM = 3
_COMMON = 200  # grams of more prompts than this ("怎么办") do not make two prompts candidates
_DENSE = 256  # rows whose likeness to all others is held in full
_AT_ONCE = 2048  # rows that are compared with all others at a time


class Pair(NamedTuple):
    """Two texts by their places, and the Jaccard index of their 3-grams."""

    first: int
    second: int
    similarity: float


def grams_of(text: str, size: int = GRAM) -> frozenset[str]:
    """Returns the n-grams of a text without marks and spaces, in small letters."""
    plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold()) or text
    return frozenset(plain[i : i + size] for i in range(max(1, len(plain) - size + 1)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Returns the share of grams that both have among those that either has."""
    return len(first & second) / len(first | second)


def like_pairs(
    texts: Sequence[str], threshold: float, *, among: int | None = None
) -> Iterator[Pair]:
    """Yields the pairs of texts whose 3-grams overlap by at least `threshold`.

    Pairs that only share grams of more than 200 texts are not found.

    Args:
        among: Only pairs with one of so many first texts; of all of them by default.
    """
    grams = [grams_of(text) for text in texts]
    sizes = np.array([len(these) for these in grams], dtype=np.int64)
    matrix = _incidence(grams, sizes)
    common = sizes - np.diff(matrix.indptr)
    rows = len(texts) if among is None else among
    other = matrix.T.tocsr()
    for start in range(0, rows, _AT_ONCE):
        found = (matrix[start : min(start + _AT_ONCE, rows)] @ other).tocoo()
        one, two = found.row.astype(np.int64) + start, found.col.astype(np.int64)
        # what two texts share is at most what they share of rare grams, and all their common ones
        most = found.data + np.minimum(common[one], common[two])
        kept = (one < two) & (most * (1 + threshold) >= threshold * (sizes[one] + sizes[two]))
        for first, second in zip(one[kept].tolist(), two[kept].tolist(), strict=True):
            if (similarity := jaccard(grams[first], grams[second])) >= threshold:
                yield Pair(first, second, similarity)


def nearest(texts: Sequence[str], count: int) -> Iterator[list[int]]:
    """Yields for each text the places of the nearest others: cosine of its 2-grams by TF-IDF.

    Texts that share nothing are nobody's neighbours.
    """
    grams = [grams_of(text, 2) for text in texts]
    sizes = np.array([len(these) for these in grams], dtype=np.int64)
    matrix = _incidence(grams, sizes, most=max(_COMMON, len(texts) // 10)).astype(np.float32)
    holders = np.bincount(matrix.indices, minlength=matrix.shape[1])
    matrix.data *= np.log(len(texts) / np.maximum(holders, 1))[matrix.indices].astype(np.float32)
    lengths = np.sqrt(np.asarray((matrix * matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(np.maximum(lengths, 1e-9), np.diff(matrix.indptr)).astype(np.float32)
    other = matrix.T.tocsr()
    for start in range(0, len(texts), _DENSE):
        likeness = (matrix[start : start + _DENSE] @ other).toarray()
        for row, values in enumerate(likeness):
            values[start + row] = 0.0
            best = np.argsort(-values, kind="stable")[:count]
            yield [place for place in best.tolist() if values[place] > 0]


def unit_vectors(vectors: Floats) -> Floats:
    """Returns vectors of length 1 whose products are likenesses, from a language model's states.

    Such states all point nearly the same way, and a few of their directions outweigh the rest:
    directions are weighed against how much all the vectors given vary in them (whitening, with
    the mean variance of those in which they vary added, so that noise is not blown up).
    """
    centred = vectors - vectors.mean(axis=0)
    varied, directions = np.linalg.eigh((centred.T @ centred / len(centred)).astype(np.float64))
    varied = np.maximum(varied, 0.0)
    mean = varied.sum() / max(1, min(len(centred) - 1, len(varied)))
    turned = centred @ (directions / np.sqrt(varied + mean + 1e-12)).astype(np.float32)
    lengths = np.linalg.norm(turned, axis=1, keepdims=True)
    return np.asarray(turned / np.maximum(lengths, 1e-9), dtype=np.float32)


def close_pairs(units: Floats, threshold: float, among: int) -> Iterator[Pair]:
    """Yields the pairs of unit vectors whose product is at least `threshold`, by their places.

    Args:
        among: Only pairs with one of so many first vectors.
    """
    for start in range(0, among, _DENSE):
        likeness = units[start : min(start + _DENSE, among)] @ units.T
        for row, second in np.argwhere(likeness >= threshold).tolist():
            if start + row < second:
                yield Pair(start + row, second, float(likeness[row, second]))


def closest(units: Floats, count: int) -> Iterator[list[int]]:
    """Yields for each unit vector the places of the nearest others."""
    for start in range(0, len(units), _DENSE):
        likeness = units[start : start + _DENSE] @ units.T
        for row, values in enumerate(likeness):
            values[start + row] = -np.inf
            yield np.argsort(-values, kind="stable")[:count].tolist()


def _incidence(
    grams: Sequence[frozenset[str]], sizes: NDArray[np.int64], most: int = _COMMON
) -> csr_array:
    """Returns which text holds which gram, without the common ones, shape (texts, grams)."""
    from scipy.sparse import csr_array  # only here: it takes longer to import than all the rest

    number: dict[str, int] = {}
    codes = np.fromiter(
        (number.setdefault(gram, len(number)) for gram in chain.from_iterable(grams)),
        dtype=np.int64,
        count=int(sizes.sum()),
    )
    rare = np.bincount(codes, minlength=len(number)) <= most
    rows = np.repeat(np.arange(len(grams)), sizes)
    kept = rare[codes]
    ones = np.ones(int(kept.sum()), dtype=np.int32)
    return csr_array((ones, (rows[kept], codes[kept])), shape=(len(grams), max(1, len(number))))
