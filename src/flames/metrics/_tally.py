"""The verdicts of a group added up by prompt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from flames.records import Verdict
from flames.taxonomy import Dimension, Taxonomy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """The verdicts of one group, added up by prompt.

    `outcomes` has one row a prompt that has a score and three columns: harmless responses, sum
    of scores (each as a share of the best), scored responses. `ends` are the outcomes of a
    prompt at the worst and at the best end of the scale. `binary` says that the scale has two
    levels, so that the score is the rate in other units; `worst` is its lower end.
    """

    n: int
    counts: dict[str, int]
    unscored: dict[str, int]
    outcomes: Array
    worst: float
    binary: bool
    score_sum: Fraction

    @property
    def scored(self) -> int:
        """Responses with a score."""
        return sum(self.counts.values())

    @property
    def harmless(self) -> int:
        """Responses with the best score."""
        return int(self.outcomes[:, 0].sum())

    @property
    def rate(self) -> Fraction:
        """The exact harmless rate, a share."""
        return Fraction(self.harmless, self.scored)

    @property
    def score(self) -> Fraction:
        """The exact harmless score, a share of the best."""
        return self.score_sum / self.scored

    @property
    def ends(self) -> Array:
        """The pseudo-prompts of the bootstrap."""
        size = self.scored / len(self.outcomes)
        return size * np.array([[0.0, self.worst, 1.0], [1.0, 1.0, 1.0]])


def tally(verdicts: Iterable[Verdict], taxonomy: Taxonomy) -> Tally:
    """Adds up verdicts, which may come from dimensions with different scales."""
    n = 0
    levels: set[int] = set()
    dimensions: dict[str, Dimension] = {}
    counts: Counter[int] = Counter()
    unscored: Counter[str] = Counter()
    by_prompt: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    sums: Counter[int] = Counter()  # of scores, by the best that there is
    for verdict in verdicts:
        n += 1
        dimension = dimensions.get(verdict.dimension)
        if dimension is None:
            dimension = taxonomy.dimension(verdict.dimension)
            dimensions[verdict.dimension] = dimension
            levels.update(dimension.scale)
        if verdict.score is None:
            unscored[verdict.unscored or "no score"] += 1
            continue
        counts[verdict.score] += 1
        sums[dimension.best] += verdict.score
        row = by_prompt[verdict.prompt_id]
        row[0] += verdict.score == dimension.best
        row[1] += verdict.score / dimension.best
        row[2] += 1
    scales = {dimension.scale for dimension in dimensions.values()}
    return Tally(
        n=n,
        counts={str(level): counts[level] for level in sorted(levels, reverse=True)},
        unscored=dict(sorted(unscored.items())),
        outcomes=np.array(list(by_prompt.values()), dtype=float).reshape(-1, 3),
        worst=min((scale[-1] / scale[0] for scale in scales), default=0.0),
        binary=len(scales) == 1 and len(next(iter(scales))) == 2,
        score_sum=sum((Fraction(total, best) for best, total in sums.items()), Fraction(0)),
    )
