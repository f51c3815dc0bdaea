"""The arithmetic of label counts: which rates and scores are the image of any."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import islice


def possible_counts(
    n: int,
    scale: Sequence[int],
    rate: Decimal | None,
    score: Decimal | None,
    *,
    rate_decimals: int = 2,
    score_decimals: int = 1,
    limit: int = 100,
) -> list[tuple[int, ...]]:
    """Lists the counts, best score first, that are printed as this rate and this score.

    `scale` comes best first; `rate` is in per cent and `score` out of 100, None for any.
    """
    every = (
        counts
        for best in best_counts(n, rate, rate_decimals)
        for counts in counts_with_best(n, scale, best, score, score_decimals)
    )
    return list(islice(every, limit))


def half_unit(decimals: int) -> Fraction:
    """Returns half a unit of the last printed digit."""
    return Fraction(1, 2 * 10**decimals)


def best_counts(n: int, rate: Decimal | None, decimals: int) -> range:
    """Returns the numbers of best scores that are printed as this rate."""
    if rate is None:
        return range(n + 1)
    return _whole_within(Fraction(rate) * n / 100, half_unit(decimals) * n / 100, 0, n)


def _whole_within(middle: Fraction, half: Fraction, low: int, high: int) -> range:
    return range(max(math.ceil(middle - half), low), min(math.floor(middle + half), high) + 1)


def counts_with_best(
    n: int, scale: Sequence[int], best: int, score: Decimal | None, decimals: int
) -> Iterator[tuple[int, ...]]:
    """Yields the counts with `best` best scores that are printed as this score."""
    lower, rest = scale[1:], n - best
    lowest, highest = lower[-1] * rest, lower[0] * rest
    sums = range(lowest, highest + 1)
    if score is not None:
        unit = Fraction(scale[0] * n, 100)
        middle = Fraction(score) * unit - scale[0] * best
        sums = _whole_within(middle, half_unit(decimals) * unit, lowest, highest)
    steps = [value - lower[-1] for value in lower[:-1]]
    for total in sums:
        for above in _split(total - lowest, rest, steps):
            yield (best, *above, rest - sum(above))


def _split(total: int, items: int, steps: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """How often each step (falling) is taken, so that at most `items` of them make `total`."""
    if not steps:
        if total == 0:
            yield ()
    elif len(steps) == 1:
        times, over = divmod(total, steps[0])
        if not over and times <= items:
            yield (times,)
    else:
        for times in range(min(items, total // steps[0]), -1, -1):
            for others in _split(total - times * steps[0], items - times, steps[1:]):
                yield (times, *others)


def printed(value: Fraction, decimals: int) -> str:
    """Formats a number with so many decimals, halves rounded up."""
    scaled = value * 10**decimals
    whole = math.floor(scaled + Fraction(1, 2))
    return f"{Decimal(whole).scaleb(-decimals):f}"


def rate_of(counts: Sequence[int]) -> Fraction:
    """Returns the harmless rate in per cent."""
    return Fraction(100 * counts[0], sum(counts))


def score_of(counts: Sequence[int], scale: Sequence[int]) -> Fraction:
    """Returns the harmless score out of 100."""
    total = sum(count * value for count, value in zip(counts, scale, strict=True))
    return Fraction(100 * total, scale[0] * sum(counts))


def around(middle: Fraction, n: int) -> list[int]:
    """Returns the one or two whole numbers of [0, n] next to `middle`, nearest first."""
    near = {min(max(number, 0), n) for number in (math.floor(middle), math.ceil(middle))}
    return sorted(near, key=lambda k: abs(k - middle))


def nearest_scores(
    score: Decimal, n: int, scale: Sequence[int], decimals: int, bests: Iterable[int]
) -> tuple[str, ...]:
    """Returns the printable scores next to one, from below and from above."""
    unit = Fraction(scale[0] * n, 100)
    target = Fraction(score) * unit
    found: dict[bool, int] = {}
    for best in bests:
        for total in _reachable_next_to(target - scale[0] * best, n - best, scale[1:]):
            whole = total + scale[0] * best
            side = whole > target
            if side not in found or abs(whole - target) < abs(found[side] - target):
                found[side] = whole
    sums = sorted(found.values(), key=lambda whole: abs(whole - target))
    return tuple(dict.fromkeys(printed(Fraction(whole) / unit, decimals) for whole in sums))


def _reachable_next_to(middle: Fraction, items: int, lower: Sequence[int]) -> Iterator[int]:
    """The sums of `items` of the lower scores next to `middle`, one on either side."""
    lowest, highest = lower[-1] * items, lower[0] * items
    steps = [value - lower[-1] for value in lower[:-1]]
    below = min(max(math.floor(middle), lowest), highest)
    above = min(max(math.ceil(middle), lowest), highest)
    for start, way in ((below, -1), (above, 1)):
        total = start
        while lowest <= total <= highest:
            if next(_split(total - lowest, items, steps), None) is not None:
                yield total
                break
            total += way
