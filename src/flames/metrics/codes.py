"""Numbers in the place of texts: what rows have in common, without looking at each."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Rows = NDArray[np.int64]
Numbers = NDArray[np.integer[Any]]

_T = TypeVar("_T")
_TABLE = 1 << 22  # how many numbers are counted rather than sorted


def extend_array(column: array[Any], values: NDArray[Any]) -> None:
    """Adds numbers of the same kind to a column."""
    column.frombytes(np.ascontiguousarray(values).data.cast("B"))


def numbered(codes: Numbers) -> tuple[Rows, Rows]:
    """Returns the different codes in order, and for each row the place of its own among them.

    Does what `np.unique` does, by counting: codes are small numbers from 0 on, and sorting millions
    of them takes longer than all the rest.
    """
    there = np.bincount(codes) > 0
    places = np.cumsum(there) - 1
    return np.flatnonzero(there), places[codes]


def first_rows(codes: Rows, size: int) -> tuple[Rows, Rows]:
    """Returns the first row of each number below `size`, and for each row its place among them."""
    if size > max(_TABLE, 2 * len(codes)):
        _, first, place = np.unique(codes, return_index=True, return_inverse=True)
        return first, place
    rows = np.full(size, -1, dtype=np.int64)
    rows[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    there = np.flatnonzero(rows >= 0)
    places = np.empty(size, dtype=np.int64)
    places[there] = np.arange(len(there))
    return rows[there], places[codes]


def in_order(codes: Numbers, values: Sequence[_T]) -> tuple[Codes, Sequence[_T]]:
    """Numbers values anew, in the order in which they come; those that do not come are left out."""
    first, place = first_rows(codes.astype(np.int64), len(values))
    if len(first) == len(values) and (np.diff(first) > 0).all():
        return codes.astype(np.int32, copy=False), values
    order = np.argsort(first)
    new = np.empty(len(first), dtype=np.int32)
    new[order] = np.arange(len(first), dtype=np.int32)
    return new[place], [values[code] for code in codes[first[order]].tolist()]


def joint_codes(*parts: Numbers) -> Rows:
    """Returns one number for the numbers of each row, equal where all of them are equal.

    The parts are numbers from 0 on; the order of the rows by them is that of the result.
    """
    key, size = parts[0].astype(np.int64), int(parts[0].max(initial=0)) + 1
    for part in parts[1:]:
        more = int(part.max(initial=0)) + 1
        if more > 2**31:
            part = np.unique(part, return_inverse=True)[1]
            more = int(part.max(initial=0)) + 1
        if size * more > 2**62:
            key = np.unique(key, return_inverse=True)[1]
            size = int(key.max(initial=0)) + 1
        key *= more
        key += part
        size *= more
    return key


def same_rows(known: Sequence[Numbers], wanted: Sequence[Numbers]) -> Numbers:
    """Returns for each wanted row the known one with the same numbers, -1 where there is none.

    Args:
        known: Columns of numbers from 0 on, no two rows alike.
        wanted: The same columns of other rows.
    """
    sizes = [
        max(int(a.max(initial=0)), int(b.max(initial=0))) + 1
        for a, b in zip(known, wanted, strict=True)
    ]
    if math.prod(sizes) > 2**62:
        codes = joint_codes(*(np.r_[a, b] for a, b in zip(known, wanted, strict=True)))
        first, second = np.split(codes, [len(known[0])])
        size = int(codes.max(initial=0)) + 1
    else:
        first, second = (_joint(columns, sizes) for columns in (known, wanted))
        size = math.prod(sizes)
    if len(first) == len(second) and (first == second).all():
        return np.arange(len(first), dtype=np.int32)
    if size <= max(_TABLE, 4 * len(first)):
        place = np.full(size, -1, dtype=np.int32)
        place[first] = np.arange(len(first), dtype=np.int32)
        return place[second]
    if not len(first):
        return np.full(len(second), -1)
    order = np.argsort(first)
    ordered = first[order]
    at = np.minimum(np.searchsorted(ordered, second), len(ordered) - 1)
    return np.where(ordered[at] == second, order[at], -1)


def _joint(columns: Sequence[Numbers], sizes: Sequence[int]) -> Rows:
    code = columns[0].astype(np.int64)
    for column, size in zip(columns[1:], sizes[1:], strict=True):
        code *= size
        code += column
    return code
