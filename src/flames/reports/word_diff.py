"""What two texts have in common: words of Latin letters as a whole, Chinese by characters."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import takewhile

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’.-][A-Za-z0-9]+)*|\s+|.", re.DOTALL)
_MOST = 1200
"""Tokens of a side that are compared one by one; of longer texts only both ends are."""
_LEAST_SHARE = 0.25
_SHORTEST = 3

Marked = list[str]
"""A text in pieces, by turns the same as in the other text and different; the first is the same."""


def word_diff(first: str, second: str) -> tuple[Marked, Marked] | None:
    """Returns both texts in pieces; None where they are equal or have too little in common."""
    a, b = _TOKEN.findall(first), _TOKEN.findall(second)
    head = _alike(a, b)
    tail = _alike(a[head:][::-1], b[head:][::-1])
    middle = a[head : len(a) - tail], b[head : len(b) - tail]
    same = [(0, 0, head)]
    if max(map(len, middle)) <= _MOST:
        blocks = SequenceMatcher(None, *middle, autojunk=False).get_matching_blocks()
        same += [(head + i, head + j, n) for i, j, n in blocks if n]
    same.append((len(a) - tail, len(b) - tail, tail))
    kept = [
        (i, j, n)
        for place, (i, j, n) in enumerate(same)
        if place in (0, len(same) - 1) or len("".join(a[i : i + n]).strip()) >= _SHORTEST
    ]
    shared = sum(len("".join(a[i : i + n])) for i, _, n in kept)
    if first == second or shared < _LEAST_SHARE * max(len(first), len(second)):
        return None
    return _pieces(a, [(i, n) for i, _, n in kept]), _pieces(b, [(j, n) for _, j, n in kept])


def _alike(a: list[str], b: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _pieces(tokens: list[str], same: list[tuple[int, int]]) -> Marked:
    pieces = [""]  # the same by turns with what differs
    at = 0
    for start, n in same:
        if start > at:
            pieces += ["".join(tokens[at:start]), ""]
        pieces[-1] += "".join(tokens[start : start + n])
        at = start + n
    return pieces
