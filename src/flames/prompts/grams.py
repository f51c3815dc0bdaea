"""n-grams of prompts, found exactly in long streams of text.

Both sides are folded alike: width and compatibility forms (NFKC, character by character) and case
are made equal; spaces, punctuation, symbols, marks and what stands outside the basic multilingual
plane (emoji, rare characters) are left out. Letters and digits are left, one UTF-16 unit each.

A stream is looked at in steps of m = 4, 8, … units: an n-gram with n ≥ 2m - 1 holds one such block
whole. Blocks that no gram holds are ruled out by a table of hashes; around the others each window
is looked up by its 64-bit hash and compared unit by unit, so that nothing is found by chance of
hashes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Units = NDArray[np.uint16]

BREAK = 1
"""The unit of U+0000, which stands between texts; no gram holds it."""
LEAST = 7
"""The shortest n-gram that is looked for."""

_AT_ONCE = 1 << 14  # blocks whose windows are compared at a time
_KANA_AND_HAN = 0x2E80
_FACTORS = np.random.default_rng(20261129).integers(2**63, size=64, dtype=np.uint64) * 2 + 1


@cache
def _fold() -> Units:
    """Returns what each unit counts as, 0 for what is left out."""
    table = np.zeros(0x10000, dtype=np.uint16)
    for code in range(0x10000):
        plain = unicodedata.normalize("NFKC", chr(code)).casefold()
        char = plain if len(plain) == 1 and ord(plain) < 0x10000 else chr(code)
        if unicodedata.category(char)[0] in "LN":
            table[code] = ord(char)
    table[0] = BREAK
    return table


@cache
def _ascii_fold() -> tuple[bytes, bytes]:
    """Returns the same for bytes of ASCII: what each counts as, and those that are left out."""
    table = _fold()[:128]
    return bytes(table.astype(np.uint8)) + bytes(128), bytes(np.flatnonzero(table == 0).tolist())


def raw_units(text: str) -> Units:
    """Returns the UTF-16 units of a text as they are."""
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype=np.uint16)


def kept_places(text: str) -> NDArray[np.int64]:
    """Returns the places in `raw_units` of the units that `fold_text` keeps."""
    return np.flatnonzero(np.take(_fold(), raw_units(text)))


def fold_text(text: str) -> Units:
    """Returns a text as it is compared, without what is left out."""
    if text.isascii():
        plain = text.encode("ascii").translate(*_ascii_fold())
        return np.frombuffer(plain, dtype=np.uint8).astype(np.uint16)
    units = np.take(_fold(), raw_units(text))
    return np.compress(units != 0, units)


def is_chinese(units: Units) -> bool:
    """Tells whether a quarter of a folded text or more is Chinese, Japanese or Korean."""
    return bool(4 * np.count_nonzero(units >= _KANA_AND_HAN) >= len(units))


def _table_of(count: int) -> tuple[NDArray[np.bool_], np.uint64]:
    """Returns an empty table for so many hashes, and by how much to shift them for it."""
    bits = min(max(16, (16 * count).bit_length()), 26)
    return np.zeros(1 << bits, dtype=bool), np.uint64(64 - bits)


class GramIndex:
    """All n-grams of some texts, each once; finds them in streams, first places first."""

    def __init__(self, texts: Sequence[Units], n: int) -> None:
        if n < LEAST:
            raise ValueError(f"n must be at least {LEAST}")
        self.n = n
        self._words = (n + 1) // 8
        self.block = 4 * self._words
        windows = [sliding_window_view(units, n) for units in texts]
        windows = [each[(each != BREAK).all(axis=1)] for each in windows]
        every = np.concatenate(windows) if windows else np.zeros((0, n), np.uint16)
        packed = np.ascontiguousarray(every).view(np.dtype((np.void, 2 * n))).ravel()
        _, first, number = np.unique(packed, return_index=True, return_inverse=True)
        ends = np.cumsum([len(each) for each in windows])[:-1]
        self.grams_of = [np.unique(each) for each in np.split(number, ends)] if windows else []
        """The numbers of the grams of each text."""
        self._grams: Units = every[first]
        self._seed_hashes()
        self.found: NDArray[np.bool_] = np.zeros(len(self._grams), dtype=bool)
        self._left = 0
        self._fill_table()

    def _seed_hashes(self) -> None:
        """Hashes the grams, with other factors where two of them have one hash."""
        size = -(-self.n // 4)
        for turn in range(0, len(_FACTORS) - size, size):
            self._factors = _FACTORS[turn : turn + size]
            hashes = self._hash(self._grams)
            self._order = np.argsort(hashes)
            self._sorted = hashes[self._order]
            if not np.any(self._sorted[1:] == self._sorted[:-1]):
                self._likely, self._likely_shift = _table_of(len(hashes))
                self._likely[hashes >> self._likely_shift] = True
                return
        raise AssertionError("grams that all hashes confuse")  # pragma: no cover

    def _hash(self, windows: Units) -> NDArray[np.uint64]:
        padded = np.zeros((len(windows), 4 * len(self._factors)), dtype=np.uint16)
        padded[:, : self.n] = windows
        mixed = padded.view(np.uint64) * self._factors
        mixed ^= mixed >> np.uint64(29)
        return np.asarray((mixed * _FACTORS[-1]).sum(axis=1, dtype=np.uint64))

    def _fill_table(self) -> None:
        """Notes the blocks of all grams that were not found yet."""
        grams = self._grams[~self.found]
        self._left = len(grams)
        self._table, self._shift = _table_of(self._left)
        for start in range(self.n - self.block + 1):
            part = np.ascontiguousarray(grams[:, start : start + self.block])
            self._table[self._keys(part.view(np.uint64))] = True

    def _keys(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        keys: NDArray[np.uint64] = words[:, 0] * _FACTORS[0]
        for place in range(1, self._words):
            keys += words[:, place] * _FACTORS[place]
        keys >>= self._shift
        return keys.view(np.int64)

    def search(self, units: Units) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the grams that are found here and nowhere before, and where each starts first.

        Args:
            units: Folded texts without zeros, `BREAK` between them.
        """
        whole = len(units) // self.block * self.block
        if len(units) < self.n or not self._left:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        words = np.ascontiguousarray(units[:whole]).view(np.uint64).reshape(-1, self._words)
        blocks = np.flatnonzero(self._table[self._keys(words)]) * self.block
        found, places = [], []
        for grams, starts in self._confirmed(units, blocks):
            new = ~self.found[grams]
            found.append(grams[new])
            places.append(starts[new])
        grams = np.concatenate(found) if found else np.zeros(0, np.int64)
        starts = np.concatenate(places) if places else np.zeros(0, np.int64)
        order = np.argsort(starts, kind="stable")
        grams, starts = grams[order], starts[order]
        grams, first = np.unique(grams, return_index=True)
        self.found[grams] = True
        remaining = len(self.found) - int(np.count_nonzero(self.found))
        if remaining < 0.9 * self._left:
            self._fill_table()
        return grams, starts[first]

    def _confirmed(
        self, units: Units, blocks: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yields the grams around blocks, and where they start."""
        around = np.arange(self.block - self.n, 1)
        windows = sliding_window_view(units, self.n)
        for at in range(0, len(blocks), _AT_ONCE):
            starts = (blocks[at : at + _AT_ONCE, None] + around).ravel()
            starts = starts[(starts >= 0) & (starts < len(windows))]
            hashes = self._hash(windows[starts])
            likely = np.flatnonzero(self._likely[(hashes >> self._likely_shift).view(np.int64)])
            starts, hashes = starts[likely], hashes[likely]
            place = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
            same = self._sorted[place] == hashes
            grams, starts = self._order[place[same]], starts[same]
            equal = (self._grams[grams] == windows[starts]).all(axis=1)
            yield grams[equal], starts[equal]
