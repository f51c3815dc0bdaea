"""The harmless rate that a scorer's probabilities expect, beside the one that its scores count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from flames.metrics.intervals import (
    BY_PROMPT,
    METHOD,
    Array,
    bootstrap_estimate,
    draw_counted,
    effective_size,
)
from flames.metrics.result import Estimate, Group, Note, Overall
from flames.records import Verdict
from flames.taxonomy import Dimension

_BINS = 20
_UNIT = 10**9  # sums of whole numbers do not depend on the order of the verdicts
_SLACK = 0.02  # rounded probabilities miss a sum of one by less


def chance_of_best(verdict: Verdict, dimension: Dimension) -> float | None:
    """Returns the probability of the best score; None without usable probabilities.

    Files of others may hold anything: what is no distribution over the dimension's scale (per
    cent, a part of the scores, NaN) is left out rather than guessed at.
    """
    if not verdict.probabilities:
        return None
    chances = [verdict.probabilities.get(str(score), 0.0) for score in dimension.scale]
    if not all(0 <= chance <= 1 for chance in chances) or abs(sum(chances) - 1) > _SLACK:
        return None
    return chances[0]


@dataclass
class ChanceCounts:
    """Adds up probabilities of the best score in bins: its size does not grow with their number."""

    totals: list[int] = field(default_factory=lambda: [0] * _BINS)
    times: list[int] = field(default_factory=lambda: [0] * _BINS)

    def add(self, chance: float) -> None:
        """Counts one response."""
        place = min(int(chance * _BINS), _BINS - 1)
        self.totals[place] += round(chance * _UNIT)
        self.times[place] += 1

    def expected(self, by_prompt: Array) -> Expected:
        """Returns what was added up; `by_prompt` as in `Expected`."""
        used = [place for place, times in enumerate(self.times) if times]
        return Expected(
            total=Fraction(sum(self.totals), _UNIT),
            values=np.array([self.totals[i] / _UNIT / self.times[i] for i in used], dtype=float),
            times=np.array([self.times[i] for i in used], dtype=float),
            by_prompt=by_prompt,
        )


@dataclass(frozen=True)
class Expected:
    """The probabilities of the best score in one group, of scored responses that carry them.

    `values` are the means of the bins, `times` their numbers of responses; `by_prompt` has a row
    per prompt: the sum of the probabilities, and how many there are.
    """

    total: Fraction
    values: Array
    times: Array
    by_prompt: Array

    @property
    def n(self) -> int:
        """Scored responses with probabilities."""
        return int(self.times.sum())

    @property
    def rate(self) -> Fraction:
        """The mean probability, a share."""
        return self.total / self.n

    @property
    def repeated(self) -> bool:
        """Whether a prompt has several such responses."""
        return self.n > len(self.by_prompt)

    @cached_property
    def size(self) -> float:
        """How many independent responses they are worth."""
        if not self.repeated:
            return float(self.n)
        shares = self.times / self.n
        spread = float(shares @ (self.values - shares @ self.values) ** 2)
        return effective_size(self.by_prompt[:, 0], self.by_prompt[:, 1], spread)

    def draw(self, resamples: int, rng: np.random.Generator) -> Array:
        """Draws the mean probability, shape (resamples,), as harmless scores are drawn."""
        ends = np.array([[0.0, 1.0], [1.0, 1.0]])
        rows = np.column_stack([self.values, np.ones(len(self.values))])
        totals = draw_counted(rows, self.times * (self.size / self.n), ends, resamples, rng)
        return np.asarray(totals[:, 0] / totals[:, 1])


def expected_estimate(value: Fraction, draws: Array, *, repeated: bool) -> Estimate:
    """Returns an expected rate, a share, with the interval of its draws, in per cent."""
    method = f"{METHOD}, {BY_PROMPT}" if repeated else METHOD
    return bootstrap_estimate(float(100 * value), 100 * draws, method)


def expected_notes(overall: Overall, dimensions: Mapping[str, Group]) -> Iterable[Note]:
    """Says where the expected rate lies outside the interval of the counted one.

    Only where every scored response has probabilities: otherwise the two are about different ones.
    """
    if side := _side(overall, overall.coverage.scored):
        assert overall.harmless_rate is not None
        assert overall.expected_harmless_rate is not None
        yield Note(
            f"expected.overall.{side}",
            counted=overall.harmless_rate.value,
            expected=overall.expected_harmless_rate.value,
        )
    sides = {name: _side(group, group.scored) for name, group in dimensions.items()}
    for side in ("above", "below"):
        if names := [name for name, own in sides.items() if own == side]:
            yield Note(f"expected.{side}", dimensions=", ".join(names))


def _side(measured: Group | Overall, scored: int) -> str | None:
    counted, expected = measured.harmless_rate, measured.expected_harmless_rate
    if counted is None or expected is None or measured.with_probabilities < scored:
        return None
    if expected.value > counted.high:
        return "above"
    return "below" if expected.value < counted.low else None
