"""Two sources prompt by prompt: what is paired, what is left out, and the difference of a group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flames.analysis.comparison import Difference
from flames.metrics.codes import Codes, Rows, first_rows, numbered
from flames.metrics.columns import NO_SCORE, Columns
from flames.metrics.grouping import rows_by_dimension, rows_by_part, rows_by_technique
from flames.metrics.intervals import Array
from flames.metrics.paired import (
    Outcomes,
    Pairs,
    detectable,
    fall_test,
    holm,
    tested_difference,
)
from flames.metrics.source import Source
from flames.taxonomy import Taxonomy

Where = NDArray[np.bool_]


class Together:
    """The columns of two sources, their prompts under one numbering: the first one's, continued.

    `ours` and `theirs` tell for each prompt whether either has verdicts on it, scored or not.
    """

    def __init__(self, first: Source, second: Source) -> None:
        self.columns = Columns.of(first.verdicts), Columns.of(second.verdicts)
        own, other = (columns.prompts for columns in self.columns)
        numbers = np.arange(len(other.values), dtype=np.int32)
        if own.values != other.values:
            numbers = np.array([own.code_of.get(text, -1) for text in other.values], dtype=np.int32)
        new = numbers < 0
        numbers[new] = len(own.values) + np.arange(int(new.sum()))
        self.size = len(own.values) + int(new.sum())
        self.prompts = self._of(0), numbers[self._of(1)]
        self.ours, self.theirs = (self.among(each) for each in self.prompts)

    def _of(self, side: int) -> Codes:
        return self.columns[side].codes("prompt_id")

    def among(self, prompts: Codes) -> Where:
        """Tells for each number whether it is one of these."""
        found = np.zeros(self.size, dtype=bool)
        found[prompts] = True
        return found

    def shared(self, other: Iterable[str]) -> Where:
        """Tells for each prompt whether both have it; those with the ids in `other` differ."""
        return self.ours & self.theirs & ~self.named(other)

    def named(self, ids: Iterable[str]) -> Where:
        """Tells for each prompt whether its id is one of these, which the first one knows."""
        number_of = self.columns[0].prompts.code_of
        known = [number_of[each] for each in ids if each in number_of]
        return self.among(np.array(known, dtype=np.int32))


@dataclass(frozen=True)
class Scored:
    """Scored verdicts of one side: those on one prompt after those on another, by their rows."""

    rows: Rows
    scores: Rows
    counts: Rows

    @cached_property
    def ends(self) -> Rows:
        """Where the verdicts on each prompt end."""
        return np.cumsum(self.counts)

    def total(self, values: NDArray[Any]) -> Rows:
        """Returns the sum of each prompt's whole values."""
        return np.add.reduceat(values, self.ends - self.counts, dtype=np.int64)

    def of(self, prompt: int) -> slice:
        """Returns where the verdicts on a prompt stand."""
        end = int(self.ends[prompt])
        return slice(end - int(self.counts[prompt]), end)


@dataclass(frozen=True)
class Paired:
    """Prompts with the scored verdicts of both sides.

    `heads` are the columns of the first side's first scored verdict on each: what it says of a
    prompt counts.
    """

    heads: Columns
    sides: tuple[Scored, Scored]
    taxonomy: Taxonomy

    def __len__(self) -> int:
        return len(self.heads)

    @cached_property
    def by_dimension(self) -> dict[str, Rows]:
        """The places of each dimension that has any, in the taxonomy's order."""
        return _filled(rows_by_dimension(self.heads, self.taxonomy))

    def by_subcomponent(self) -> dict[str, Rows]:
        """Returns the places of each subcomponent, under the name that results give it."""
        return _filled(rows_by_part(self.heads, self.taxonomy))

    def by_technique(self) -> dict[str, Rows]:
        """Returns the places of each technique of attack."""
        return _filled(rows_by_technique(self.heads))

    def values(self, places: Rows, *, rate: bool) -> Pairs:
        """Returns the harmless rates or scores at some places, as shares."""
        (first, ours), (second, theirs) = self._rates if rate else self._scores
        single = all((side.counts[places] == 1).all() for side in self.sides)
        here = set(np.unique(self._dimensions[places]).tolist())
        scales = [self.taxonomy.dimensions[number].scale for number in here]
        return Pairs(
            first=ours[places],
            second=theirs[places],
            low=0.0 if rate else min(scale[-1] / scale[0] for scale in scales),
            responses=None if single else (first.taken(places), second.taken(places)),
        )

    def moved(self, places: Rows) -> dict[str, int]:
        """Counts the prompts whose mean score rose and fell."""
        gains = self._gains[places]
        return {"better": int((gains > 0).sum()), "worse": int((gains < 0).sum())}

    @cached_property
    def _gains(self) -> Array:
        (_, ours), (_, theirs) = self._scores
        return np.round(theirs - ours, 9)

    @cached_property
    def _dimensions(self) -> NDArray[np.int16]:
        """The number of each prompt's dimension in the taxonomy."""
        found = np.zeros(len(self), dtype=np.int16)
        names = {dimension.name: n for n, dimension in enumerate(self.taxonomy.dimensions)}
        for name, places in self.by_dimension.items():
            found[places] = names[name]
        return found

    @cached_property
    def _rates(self) -> list[tuple[Outcomes, Array]]:
        return self._outcomes(lambda score, best: float(score == best))

    @cached_property
    def _scores(self) -> list[tuple[Outcomes, Array]]:
        return self._outcomes(lambda score, best: score / best)

    def _outcomes(self, worth: Callable[[int, int], float]) -> list[tuple[Outcomes, Array]]:
        """Returns for each side what its responses are worth, and the means."""
        found = []
        for side, (codes, scores) in zip(self.sides, self._codes, strict=True):
            bests = [dimension.best for dimension in self.taxonomy.dimensions]
            levels = np.array([worth(score, best) for best in bests for score in scores])
            outcomes = Outcomes(codes, levels, side.counts)
            found.append((outcomes, outcomes.means()))
        return found

    @cached_property
    def _codes(self) -> list[tuple[Codes, list[int]]]:
        """For each side the numbers of dimension and score together, and the scores."""
        found = []
        for side in self.sides:
            low = int(side.scores.min(initial=0))
            scores, places = numbered(side.scores - low)
            codes = np.repeat(self._dimensions, side.counts).astype(np.int32) * len(scores)
            codes += places.astype(np.int32)
            found.append((codes, (scores + low).tolist()))
        return found

    def changed(self) -> Rows:
        """Returns the places of the prompts that have other scores on the two sides."""
        found = np.zeros(len(self), dtype=bool)
        for score in set().union(*(scores for _, scores in self._codes)):
            first, second = (side.total(side.scores == score) for side in self.sides)
            found |= first != second
        return np.flatnonzero(found)

    def falls(self) -> Array:
        """Returns by how much the mean score of each prompt is lower on the second side."""
        first, second = (side.total(side.scores) / side.counts for side in self.sides)
        return np.asarray(first - second)


def _filled(groups: Mapping[str, Rows]) -> dict[str, Rows]:
    return {name: places for name, places in groups.items() if len(places)}


def join_prompts(
    together: Together, names: tuple[str, str], other: Iterable[str], taxonomy: Taxonomy
) -> tuple[Paired, dict[str, int]]:
    """Pairs the prompts that both sides have scores for; counts the rest by reason.

    The ids in `other` mean prompts with different texts.
    """
    first, second = together.columns
    rows, _ = first_rows(together.prompts[0].astype(np.int64), together.size)
    prompts = together.prompts[0][np.sort(rows)]  # in the order in which they come
    scored = [np.flatnonzero(own.score_column() != NO_SCORE) for own in (first, second)]
    on = [codes[own] for codes, own in zip(together.prompts, scored, strict=True)]
    without_first, without_second = (~together.among(codes)[prompts] for codes in on)
    shared, renamed = together.shared(other)[prompts], together.named(other)[prompts]
    chosen = prompts[shared & ~without_first & ~without_second]
    place = np.full(together.size, -1, dtype=np.int32)
    place[chosen] = np.arange(len(chosen))
    sides = [
        _by_place(place[codes], own, columns.score_column(), len(chosen))
        for codes, own, columns in zip(on, scored, (first, second), strict=True)
    ]
    reasons = [
        ("another text", ~shared & renamed),
        ("not in common", ~shared & ~renamed),
        ("unscored: both", shared & without_first & without_second),
        (f"unscored: {names[0]}", shared & without_first & ~without_second),
        (f"unscored: {names[1]}", shared & ~without_first & without_second),
    ]
    left_out: dict[str, int] = defaultdict(int)
    for reason, where in sorted(reasons, key=lambda each: int(np.argmax(each[1]))):
        if n := int(where.sum()):
            left_out[reason] += n
    if n := int((together.theirs & ~together.ours).sum()):
        left_out["not in common"] += n
    heads = first.taken(sides[0].rows[sides[0].ends - sides[0].counts])
    return Paired(heads, (sides[0], sides[1]), taxonomy), dict(left_out)


def _by_place(places: Codes, rows: Rows, scores: Rows, size: int) -> Scored:
    """Returns verdicts by the places of their prompts, those below 0 left out."""
    kept = places >= 0
    places, rows = places[kept], rows[kept]
    rows = rows[np.argsort(places, kind="stable")]
    return Scored(rows, scores[rows], np.bincount(places, minlength=size))


def difference_of(
    strata: Sequence[Pairs], rng: Callable[..., np.random.Generator], resamples: int
) -> Difference:
    """Tests the mean difference, also whether it is a fall."""
    differences = [own.differences for own in strata]
    return Difference(
        **tested_difference(strata, rng, resamples)._asdict(),
        p_fall=fall_test(differences, resamples, rng("fall")),
        detectable=100 * detectable(strata),
    )


def correct_together(differences: Sequence[Difference]) -> list[Difference]:
    """Returns the differences with p values that Holm's method corrects over all of them."""
    pairs = zip(differences, holm([each.p for each in differences]), strict=True)
    return [each.model_copy(update={"p_holm": p}) for each, p in pairs]
