"""How hard prompts are: an item response model in which prompts are drawn towards each other.

    logit P(model i passes prompt j) = a_j · (θ_i - b_j)

`b_j`, a prompt's difficulty, comes from a normal distribution around the mean of its part (a
subcomponent), and parts from one around the whole: what few models answered is drawn towards its
like (partial pooling). The models' θ are free but for a wide normal prior. All `a_j` are 1 (Rasch
1960) unless slopes are asked for (Birnbaum 1968): then log a_j is normal around 0. The spreads of
these distributions are estimated from the same responses, and posteriors are mixed over what the
spread may be, so that an estimated spread of 0 leaves no interval without width.

A model that gave several responses to a prompt counts once, by the share that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flames.metrics.intervals import Array

_TAIL = 0.025
_WIDE = 3.0  # spread of the prior of the models, in logits: for one that passes everything
_PART = 0.5  # what parts are taken to differ by, worth as much as one more part
_FINE, _COARSE, _SLOPES = 81, 31, 9  # nodes of difficulties, with slopes fewer
_REACH = 5.0  # nodes lie within so many standard deviations
_NEAR = 4.5  # spreads whose log likelihood is so far below the best are left out
_SAME = 0.02  # share that what parts differ by may still change
_FIRST = (0.0, 0.25, 0.5, 0.9, 1.4, 2.1, 3.2)  # spreads that are tried first
_FIRST_SLOPES = (0.0, 0.3, 0.6, 1.0)
_MIXED = 9  # values of a spread that posteriors are mixed over


class Interval(NamedTuple):
    """Values with their 95 % credible intervals, each of one shape."""

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class DifficultyFit:
    """What responses say about prompts and models; difficulties and abilities are logits.

    `failing` is the share of these models that a prompt should make fail, `part_failing` its mean
    over the prompts of a part. `reliability` is the share of the differences between prompts'
    estimates that is no chance; `information` how much a prompt says about which model is better.
    `slope` and `slope_spread` are None unless slopes were fitted.
    """

    ability: Array
    difficulty: Interval
    failing: Interval
    part_failing: Interval
    spread: Interval
    reliability: Interval
    information: Array
    slope: Interval | None = None
    slope_spread: Interval | None = None


class _Nodes(NamedTuple):
    """Where posteriors are computed: standardised difficulty, slope, log weight of each node."""

    place: Array
    slope: Array
    weight: Array


class _State(NamedTuple):
    """A fit: models, means of parts and their variances, three spreads, log likelihood."""

    ability: Array
    means: Array
    variances: Array
    between: float
    spread: float
    slope_spread: float
    score: float


class _Part(NamedTuple):
    """The prompts of a part: their places, passes and responses, shape (prompts, models)."""

    rows: NDArray[np.int64]
    passed: Array
    seen: Array


def fit_difficulty(
    passed: Array,
    parts: NDArray[np.int64],
    *,
    slopes: bool = False,
    known_spread: float | None = None,
) -> DifficultyFit:
    """Fits the model to the shares of passing responses.

    Args:
        passed: Shape (models, prompts); NaN where a model has no scored response to a prompt.
        parts: The number of each prompt's part, from 0, shape (prompts,).
        slopes: Whether prompts may separate models more or less sharply (2PL).
        known_spread: The spread of difficulties within parts, where it need not be estimated.
    """
    groups = list(_split(passed, parts))
    if known_spread is None:
        states, chances = _profiled(lambda spread, near: _fit(groups, spread, 0.0, near), _FIRST, 2)
    else:
        states, chances = [_fit(groups, known_spread, 0.0, None)], np.ones(1)
    spread = _mixed(np.array([state.spread for state in states]), chances)
    slope_spread = None
    if slopes:
        own, start = float(spread.value), states[int(chances.argmax())]
        states, chances = _profiled(
            lambda tau, near: _fit(groups, own, tau, near or start), _FIRST_SLOPES, 1
        )
        slope_spread = _mixed(np.array([state.slope_spread for state in states]), chances)
    made = _Posterior(states, chances, len(parts), len(groups))
    for number, part in enumerate(groups):
        made.add(number, part)
    return DifficultyFit(
        ability=made.ability,
        difficulty=made.difficulty,
        failing=made.failing,
        part_failing=made.parts,
        spread=spread,
        reliability=_mixed(made.reliabilities(), chances),
        information=made.information,
        slope=made.slope if slopes else None,
        slope_spread=slope_spread,
    )


def _split(passed: Array, parts: NDArray[np.int64]) -> Iterator[_Part]:
    for number in range(int(parts.max()) + 1):
        rows = np.flatnonzero(parts == number)
        own = passed[:, rows].T
        seen = (~np.isnan(own)).astype(float)
        yield _Part(rows, np.nan_to_num(own), seen)


def _nodes(slope_spread: float) -> _Nodes:
    if slope_spread == 0:
        place = np.linspace(-_REACH, _REACH, _FINE)
        return _Nodes(place, np.ones(_FINE), _normal(place))
    place = np.linspace(-_REACH, _REACH, _COARSE)
    steps = np.linspace(-_REACH / 2, _REACH / 2, _SLOPES)
    both = np.add.outer(_normal(place), _normal(steps)).ravel()
    slope = np.tile(np.exp(slope_spread * steps), _COARSE)
    return _Nodes(np.repeat(place, _SLOPES), slope, both)


def _normal(values: Array) -> Array:
    weights = np.exp(-(values**2) / 2)
    return np.asarray(np.log(weights / weights.sum()))


def _chances(ability: Array, difficulty: Array, slope: Array) -> tuple[Array, Array, Array]:
    """Returns by node and model the logit, the chance to pass, and minus its log."""
    logit = slope[:, None] * (ability[None, :] - difficulty[:, None])
    cost = np.logaddexp(0.0, -logit)
    return logit, np.exp(-cost), cost


def _posterior(
    part: _Part, ability: Array, difficulty: Array, nodes: _Nodes
) -> tuple[Array, Array, Array]:
    """Returns weights of nodes by prompt, the log likelihood of each, and chances to pass."""
    logit, chance, cost = _chances(ability, difficulty, nodes.slope)
    joint = nodes.weight - part.seen @ cost.T - (part.seen - part.passed) @ logit.T
    top = joint.max(axis=1, keepdims=True)
    weights = np.exp(joint - top)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, (top + np.log(total))[:, 0], chance


def _fit(
    groups: Sequence[_Part], spread: float, slope_spread: float, near: _State | None
) -> _State:
    """Fits models and parts at given spreads, beginning near another fit."""
    nodes, models = _nodes(slope_spread), groups[0].passed.shape[1]
    several, between, score = len(groups) > 1, _PART, 0.0
    known, variances = np.zeros(models + len(groups)), np.zeros(len(groups))
    if near is not None:
        known[:models], known[models:], between = near.ability, near.means, near.between
    for _ in range(5):  # what parts differ by converges fast
        known, score = _climbed(groups, known, spread, nodes, between)
        if not several:
            break
        variances, before = _variances(groups, known, spread, nodes, between), between
        squares = float((known[models:] ** 2 + variances).sum())
        between = float(np.sqrt((squares + _PART**2) / (len(groups) + 1)))
        score += float(np.log(variances / before**2).sum()) / 2
        if abs(between - before) < _SAME * before:
            break
    return _State(known[:models], known[models:], variances, between, spread, slope_spread, score)


def _climbed(
    groups: Sequence[_Part], start: Array, spread: float, nodes: _Nodes, between: float
) -> tuple[Array, float]:
    from scipy.optimize import minimize  # only here: it takes longer to import than all the rest

    models = groups[0].passed.shape[1]

    def cost(known: Array) -> tuple[float, Array]:
        ability = known[:models]
        slope = np.zeros_like(known)
        score = -float((ability**2).sum()) / (2 * _WIDE**2)
        slope[:models] = -ability / _WIDE**2
        for number, part in enumerate(groups, start=models):
            mean = known[number]
            weights, own, chance = _posterior(part, ability, mean + spread * nodes.place, nodes)
            missed = part.passed.sum(axis=1)[:, None] - part.seen @ chance.T  # by prompt and node
            steep = weights * nodes.slope
            slope[:models] += part.passed.T @ steep.sum(axis=1)
            slope[:models] -= ((part.seen.T @ steep) * chance.T).sum(axis=1)
            slope[number] -= float((steep * missed).sum()) + mean / between**2
            score += float(own.sum()) - mean**2 / (2 * between**2)
        if len(groups) == 1:
            slope[models] = 0.0  # the models say it all
        return -score, -slope

    found = minimize(cost, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x), -float(found.fun)


def _variances(
    groups: Sequence[_Part], known: Array, spread: float, nodes: _Nodes, between: float
) -> Array:
    """Returns the variances of the means of parts (Louis 1982), models given."""
    models = groups[0].passed.shape[1]
    found = []
    for number, part in enumerate(groups, start=models):
        places = known[number] + spread * nodes.place
        weights, _, chance = _posterior(part, known[:models], places, nodes)
        missed = nodes.slope * (part.passed.sum(axis=1)[:, None] - part.seen @ chance.T)
        whole = nodes.slope**2 * (part.seen @ (chance * (1 - chance)).T)
        mean = (weights * missed).sum(axis=1, keepdims=True)
        told = float((weights * (whole - (missed - mean) ** 2)).sum())
        found.append(1 / (max(told, 0.0) + 1 / between**2))
    return np.array(found)


def _profiled(
    fit: Callable[[float, _State | None], _State], first: Sequence[float], closer: int
) -> tuple[list[_State], Array]:
    """Fits at values of a spread around the best one; also returns the chance of each.

    `fit` gets a value and the fit at the nearest value so far. After the `first` values it looks
    `closer` so many times.
    """
    tried: dict[float, _State] = {}
    even = first
    for _ in range(closer + 1):
        for value in even:
            if value not in tried:
                near = min(tried, key=lambda other: abs(other - value), default=None)
                tried[value] = fit(value, None if near is None else tried[near])
        values = sorted(tried)
        scores = np.array([tried[value].score for value in values])
        close = np.flatnonzero(scores > scores.max() - _NEAR)
        low = values[max(int(close[0]) - 1, 0)]
        high = values[min(int(close[-1]) + 1, len(values) - 1)]
        final, even = even, np.linspace(low, high, _MIXED).tolist()
    even = final
    states = [tried[value] for value in even]
    scores = np.array([state.score for state in states])
    ends = np.ones(len(even))
    ends[[0, -1]] = 0.5  # the trapezoidal rule, for a flat prior
    chances = ends * np.exp(scores - scores.max())
    return states, chances / chances.sum()


def _mixed(values: Array, chances: Array) -> Interval:
    """Returns mean and quantiles of values with chances, between them in a straight line."""
    order = np.argsort(values, kind="stable")
    values, chances = values[order], chances[order]
    reached = np.cumsum(chances) - chances / 2
    low, high = np.interp((_TAIL, 1 - _TAIL), reached, values)
    return Interval(np.asarray(chances @ values), np.asarray(low), np.asarray(high))


class _Posterior:
    """Posteriors of prompts and parts, mixed over several fits."""

    def __init__(self, states: Sequence[_State], chances: Array, prompts: int, parts: int) -> None:
        self._states, self._chances = states, chances
        self.ability: Array = np.asarray(chances @ np.array([each.ability for each in states]))
        self.difficulty, self.failing, self.slope = (_empty(prompts) for _ in range(3))
        self.parts = _empty(parts)
        self.information: Array = np.zeros(prompts)
        self._moments = np.zeros((2, len(states), prompts))

    def add(self, number: int, part: _Part) -> None:
        """Adds the prompts of a part."""
        weights, places, slopes, shifts = [], [], [], []
        for at, (state, chance) in enumerate(zip(self._states, self._chances, strict=True)):
            nodes, extra = _nodes(state.slope_spread), state.variances[number]
            own = state.means[number] + np.hypot(state.spread, np.sqrt(extra)) * nodes.place
            found, _, passing = _posterior(part, state.ability, own, nodes)
            worth = nodes.slope**2 * (passing * (1 - passing)).mean(axis=1)
            self.information[part.rows] += chance * (found @ worth)
            mean = found @ own
            self._moments[:, at, part.rows] = mean, found @ own**2 - mean**2
            weights.append(chance * found)
            places.append(own)
            slopes.append(nodes.slope)
            shifts.append(chance * _moved(part, state, number, nodes))
        joined, place = np.concatenate(weights, axis=1), np.concatenate(places)
        failing = 1 - _chances(self.ability, place, np.concatenate(slopes))[1].mean(axis=1)
        for kept, values in (
            (self.difficulty, place),
            (self.failing, failing),
            (self.slope, np.concatenate(slopes)),
        ):
            _quantiles(kept, part.rows, joined, values)
        self._mean(number, part, joined @ failing, joined @ failing**2, sum(shifts))

    def _mean(self, number: int, part: _Part, mean: Array, square: Array, shift: float) -> None:
        """Puts down the mean over a part: its prompts vary by themselves, and all with its mean."""
        value, alone = float(mean.mean()), float((square - mean**2).sum()) / len(part.rows) ** 2
        half = 1.96 * float(np.sqrt(alone + shift))
        steep = max(value * (1 - value), 1e-9)  # on the logit scale, to stay between 0 and 1
        middle = np.log(max(value, 1e-9) / max(1 - value, 1e-9))
        ends = 1 / (1 + np.exp(-(middle + np.array([-half, half]) / steep)))
        for kept, found in zip(self.parts, (value, *ends), strict=True):
            kept[number] = found

    def reliabilities(self) -> Array:
        """Returns for each fit the share of the variance of difficulties that is known."""
        between, within = self._moments[0].var(axis=1), self._moments[1].mean(axis=1)
        return np.asarray(between / np.maximum(between + within, 1e-12))


def _moved(part: _Part, state: _State, number: int, nodes: _Nodes) -> float:
    """Returns the variance of a part's mean failure rate that comes from that of its mean."""
    own = state.means[number] + state.spread * nodes.place
    weights, _, chance = _posterior(part, state.ability, own, nodes)
    steep = nodes.slope * (chance * (1 - chance)).mean(axis=1)
    place = weights @ nodes.place
    loose = weights @ nodes.place**2 - place**2  # 1 where a prompt follows its part altogether
    return float(((weights @ steep) * loose).mean() ** 2 * state.variances[number])


def _empty(count: int) -> Interval:
    return Interval(np.zeros(count), np.zeros(count), np.zeros(count))


def _quantiles(kept: Interval, rows: NDArray[np.int64], weights: Array, values: Array) -> None:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    kept.value[rows] = weights @ values
    for ends, share in ((kept.low, _TAIL), (kept.high, 1 - _TAIL)):
        ends[rows] = values[order][np.minimum((reached < share).sum(axis=1), len(values) - 1)]
