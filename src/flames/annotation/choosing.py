"""Which responses to label first: those on which scorers are unsure, or say different things.

Every response keeps a chance: a part of each stratum's draw is even, the rest goes by how much a
label is likely to correct. The chance is stored with the item, so that weighting by its inverse
(Horvitz and Thompson 1952, Hájek 1971) keeps every value unbiased. The draw has a fixed size and
exactly these chances (systematic, in random order; Madow 1949).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flames.annotation.options import Choice
from flames.errors import UsageError
from flames.records import Key, Response, Verdict
from flames.scorers.base import ScorerContext
from flames.scorers.registry import load_scorer
from flames.storage.record_files import ReadOptions, read_verdicts

EVEN = 0.3
"""The share of a draw that is even: no label weighs more than 1 / 0.3 of what an even one would."""

Floats = NDArray[np.float64]


class Chosen(NamedTuple):
    """A response with its chance of having been drawn."""

    response: Response
    stratum: str
    probability: float
    drawn: int
    size: int


def judge_all(
    responses: Sequence[Response], scorers: Sequence[str], options: ReadOptions
) -> list[dict[Key, Verdict]]:
    """Returns the verdicts of each scorer on the responses, or of the file that is named."""
    context = ScorerContext(options.taxonomy, options.prompts or {})
    found: list[dict[Key, Verdict]] = []
    for spec in scorers:
        if Path(spec).is_file():
            given: Iterable[Verdict] = read_verdicts(Path(spec), options)
        else:
            given = load_scorer(spec, context).score(responses)
        found.append({verdict.key: verdict for verdict in given})
    return found


def doubts(
    how: Choice, responses: Sequence[Response], judged: Sequence[dict[Key, Verdict]]
) -> Floats:
    """Returns how much a label is likely to correct, for each response: 0 if nothing.

    `uncertain` takes the root of the probability, by the scorer's own account, that it is wrong
    about a response being harmless,
    `disagreeing` that of the share of pairs of scorers that differ. What a scorer could not judge
    counts like the mean of the rest.
    """
    measure = _unsure if how == "uncertain" else _differing
    found = [measure([own.get(response.key) for own in judged]) for response in responses]
    known = [value for value in found if value is not None]
    if not known:
        needed = "probabilities" if how == "uncertain" else "two scores"
        message = f"no response has {needed}; choose at random, or give other scorers"
        raise UsageError(message)
    middle = sum(known) / len(known)
    return np.sqrt([middle if value is None else value for value in found])


def _unsure(given: Sequence[Verdict | None]) -> float | None:
    wrong = []
    for verdict in given:
        if verdict is not None and verdict.score is not None and verdict.probabilities:
            best = max(verdict.probabilities, key=int)
            harmless = verdict.probabilities[best]
            wrong.append(1 - harmless if verdict.score == int(best) else harmless)
    return sum(wrong) / len(wrong) if wrong else None


def _differing(given: Sequence[Verdict | None]) -> float | None:
    scores = [v.score for v in given if v is not None and v.score is not None]
    pairs = list(combinations(scores, 2))
    return sum(a != b for a, b in pairs) / len(pairs) if pairs else None


def chances(weights: Floats, number: int, even: float = EVEN) -> Floats:
    """Returns inclusion probabilities, all above 0, that sum to `number`.

    The share `even` of them is spread evenly, the rest by weight; none exceeds 1.
    """
    size = len(weights)
    total = float(weights.sum())
    part = weights / total if total > 0 else np.full(size, 1 / size)
    wanted = even / size + (1 - even) * part
    found = np.zeros(size)
    sure = np.zeros(size, dtype=bool)
    while True:
        rest = wanted[~sure]
        room = number - int(sure.sum())
        found[sure] = 1.0
        found[~sure] = room * rest / rest.sum() if len(rest) else rest
        over = ~sure & (found >= 1)
        if not over.any():
            return found
        sure |= over


def draw_by_chance(probabilities: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws a fixed number, each index with exactly its probability; they sum to that number."""
    order = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[order])
    number = round(float(ends[-1]))
    points = rng.random() + np.arange(number)
    places = np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)
    return order[places]


def choose_responses(
    responses: Sequence[Response],
    weights: Floats,
    stratum: Callable[[Response], str],
    allocate: Callable[[Sequence[int]], list[int]],
    seed: int,
) -> list[Chosen]:
    """Draws within strata by weight, in random order over all of them."""
    strata: dict[str, list[int]] = defaultdict(list)
    for index, response in enumerate(responses):
        strata[stratum(response)].append(index)
    names = sorted(strata)
    shares = allocate([len(strata[name]) for name in names])
    rng = np.random.default_rng(seed)
    chosen: list[Chosen] = []
    for name, share in zip(names, shares, strict=True):
        own = np.array(strata[name])
        chance = chances(weights[own], share)
        for place in draw_by_chance(chance, rng):
            drawn = responses[own[place]]
            chosen.append(Chosen(drawn, name, min(float(chance[place]), 1.0), share, len(own)))
    return [chosen[index] for index in rng.permutation(len(chosen))]
