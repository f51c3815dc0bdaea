"""How varied the prompts of a set are, in measures that sets of different sizes can be held by."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWN = 1000
"""Size of the draw of n-grams in which the different ones are counted."""


@dataclass(frozen=True)
class Diversity:
    """Full counts over the texts of a set, so that they have no interval.

    Args:
        distinct: For n = 1, 2, 3 the per cent of different n-grams among all; it falls with the
            size of a set.
        distinct_drawn: The same for 2-grams in a draw of 1,000 of them, on average over all draws,
            which sets of any size can be compared by; None where there are fewer.
        similarity: The mean cosine of two prompts by their counts of 2-grams, 0 to 1; None for one.
    """

    distinct: dict[int, float]
    distinct_drawn: float | None
    similarity: float | None


def diversity(texts: Sequence[str]) -> Diversity:
    """Measures texts, without their marks and spaces, in small letters and plain width."""
    plain = [re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", t).casefold()) for t in texts]
    shares = {}
    for n in (1, 2, 3):
        counts = Counter(text[i : i + n] for text in plain for i in range(len(text) - n + 1))
        if total := counts.total():
            shares[n] = 100 * len(counts) / total
        if n == 2:
            pairs = counts
    return Diversity(shares, _drawn(pairs), _similarity(plain))


def _drawn(counts: Counter[str]) -> float | None:
    """Returns the expected per cent of different n-grams among `DRAWN`, none drawn twice."""
    total = counts.total()
    if total < DRAWN:
        return None
    left = total - np.arange(DRAWN)
    expected = 0.0
    for count, grams in Counter(counts.values()).items():
        if count > total - DRAWN:
            expected += grams  # every draw holds one
        else:
            expected += grams * -math.expm1(float(np.log1p(-count / left).sum()))
    return 100 * expected / DRAWN


def _similarity(texts: Sequence[str]) -> float | None:
    """Returns the mean over all pairs, from the length of the sum of their unit vectors."""
    known = [text for text in texts if len(text) > 1]
    if len(known) < 2:
        return None
    total: defaultdict[str, float] = defaultdict(float)
    for text in known:
        counts = Counter(text[i : i + 2] for i in range(len(text) - 1))
        length = math.sqrt(sum(n * n for n in counts.values()))
        for gram, n in counts.items():
            total[gram] += n / length
    n = len(known)
    return max(0.0, (sum(value * value for value in total.values()) - n) / (n * (n - 1)))
