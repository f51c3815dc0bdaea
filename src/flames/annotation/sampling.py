"""Stratified random sampling without replacement, with the probability that each item had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from flames.errors import UsageError

_Item = TypeVar("_Item")


class Drawn(NamedTuple, Generic[_Item]):
    """An item that was drawn, and how likely that was: `drawn` of `size` in its stratum."""

    item: _Item
    stratum: str
    drawn: int
    size: int

    @property
    def inclusion_probability(self) -> float:
        """Exactly n_h / N_h."""
        return self.drawn / self.size


def allocate(sizes: Sequence[int], total: int) -> list[int]:
    """How many to draw from each stratum: equally many, a stratum never beyond its size.

    Overall values are unweighted means over dimensions, so equal allocation serves them better
    than a proportional one. What is left over after an equal share goes one by one to the
    largest strata that still have items.

    Args:
        sizes: Size of each stratum, in items.
        total: Items to draw.

    Raises:
        UsageError: `total` exceeds what there is, or leaves a stratum without any.
    """
    if total > sum(sizes):
        raise UsageError(f"a sample of {total} cannot be drawn from {sum(sizes)} responses")
    if total < len(sizes):
        raise UsageError(
            f"a sample of {total} leaves strata empty: there are {len(sizes)}; "
            "draw more or stratify more coarsely"
        )
    shares = [0] * len(sizes)
    left = total
    while left:
        open_strata = [h for h, size in enumerate(sizes) if shares[h] < size]
        each = left // len(open_strata)
        if each == 0:
            for h in sorted(open_strata, key=lambda h: (-sizes[h], h))[:left]:
                shares[h] += 1
            break
        for h in open_strata:
            step = min(each, sizes[h] - shares[h])
            shares[h] += step
            left -= step
    return shares


def draw(
    items: Sequence[_Item],
    stratum: Callable[[_Item], str],
    sample: int | None,
    seed: int,
) -> list[Drawn[_Item]]:
    """Draws `sample` items at random within strata, in random order over all of them.

    Args:
        items: The population; its order matters to the draw, so give it sorted by key.
        stratum: Name of an item's stratum.
        sample: How many; all of them if None.
        seed: Of the random numbers.

    Raises:
        UsageError: The sample is too large, or smaller than the number of strata.
    """
    strata: dict[str, list[_Item]] = {}
    for item in items:
        strata.setdefault(stratum(item), []).append(item)
    names = sorted(strata)
    sizes = [len(strata[name]) for name in names]
    shares = sizes if sample is None else allocate(sizes, sample)
    rng = np.random.default_rng(seed)
    drawn: list[Drawn[_Item]] = []
    for name, size, share in zip(names, sizes, shares, strict=True):
        chosen = rng.permutation(size)[:share]
        drawn += [Drawn(strata[name][index], name, share, size) for index in chosen]
    return [drawn[index] for index in rng.permutation(len(drawn))]
