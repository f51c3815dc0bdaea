"""One label per item from several: by decision, by majority, or by Dawid and Skene's model.

The model estimates how often each annotator gives which label to an item of which true class.
A. P. Dawid and A. M. Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm, Applied Statistics 28 (1979) 20-28.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flames.annotation.ledger import GivenLabel, Item, Ledger
from flames.taxonomy import Taxonomy

Method = Literal["adjudicated", "majority", "dawid-skene"]
Floats = NDArray[np.float64]

_EVEN = 1e-9
_TINY = 1e-10  # keeps the probability of a class that nobody ever saw above zero


class AggregatedLabel(NamedTuple):
    """A score, or the reason why there is none; probabilities are vote shares or posteriors."""

    score: int | None
    unscored: str | None
    probabilities: dict[str, float] | None
    reason: str | None = None
    adjudicator: int | None = None


def answers_by_item(ledger: Ledger) -> dict[int, list[GivenLabel]]:
    """Returns the labels and flags of each item; skips say nothing about it."""
    found: dict[int, list[GivenLabel]] = defaultdict(list)
    for key in sorted(ledger.answers):
        given = ledger.answers[key]
        if given.answer != "skipped":
            found[given.item].append(given)
    return found


def aggregate(
    method: Method, ledger: Ledger, items: Mapping[int, Item], taxonomy: Taxonomy
) -> dict[int, AggregatedLabel]:
    """Returns one label for every item of the sample, by item.

    `adjudicated` takes decisions and complete unanimous labels; `majority` the most frequent answer
    (a flag is one; a tie is unscored). `dawid-skene` is fitted over all dimensions with one scale.
    """
    answers = answers_by_item(ledger)
    work = {number: item for number, item in items.items() if item.kind == "work"}
    if method == "dawid-skene":
        return _dawid_skene(answers, work, taxonomy)
    aggregated: dict[int, AggregatedLabel] = {}
    for number, item in work.items():
        given = answers.get(number, [])
        shares = _shares(given, taxonomy.dimension(item.dimension).scale)
        if method == "majority":
            aggregated[number] = _majority(given, shares)
        else:
            aggregated[number] = _adjudicated(ledger, item, given, shares)
    return aggregated


def unanimous(given: list[GivenLabel], quota: int | None) -> bool:
    """Returns whether an item needs no adjudicator: enough labels, all the same, no flag."""
    scores = {each.score for each in given}
    return len(given) >= (quota or 1) and len(scores) == 1 and None not in scores


Shares = dict[str, float] | None


def _adjudicated(
    ledger: Ledger, item: Item, given: list[GivenLabel], shares: Shares
) -> AggregatedLabel:
    decision = ledger.decisions.get(item.id)
    if decision is not None:
        unscored = "unjudgeable" if decision.score is None else None
        return AggregatedLabel(decision.score, unscored, shares, decision.reason, decision.person)
    if unanimous(given, item.quota):
        return AggregatedLabel(given[0].score, None, shares)
    if not given:
        return AggregatedLabel(None, "no label", None)
    incomplete = len(given) < (item.quota or 1)
    return AggregatedLabel(None, "incomplete" if incomplete else "not adjudicated", shares)


def _majority(given: list[GivenLabel], shares: Shares) -> AggregatedLabel:
    if not given:
        return AggregatedLabel(None, "no label", None)
    votes = Counter(each.score for each in given).most_common()
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        return AggregatedLabel(None, "tie", shares)
    score = votes[0][0]
    return AggregatedLabel(score, "flagged" if score is None else None, shares)


def _shares(given: list[GivenLabel], scale: tuple[int, ...]) -> Shares:
    scores = [each.score for each in given if each.score is not None]
    return {str(score): scores.count(score) / len(scores) for score in scale} if scores else None


def _dawid_skene(
    answers: Mapping[int, list[GivenLabel]], work: Mapping[int, Item], taxonomy: Taxonomy
) -> dict[int, AggregatedLabel]:
    aggregated: dict[int, AggregatedLabel] = {}
    by_scale: dict[tuple[int, ...], list[GivenLabel]] = defaultdict(list)
    for number, item in work.items():
        labels = [each for each in answers.get(number, []) if each.score is not None]
        by_scale[taxonomy.dimension(item.dimension).scale] += labels
        if not labels:
            reason = "flagged" if number in answers else "no label"
            aggregated[number] = AggregatedLabel(None, reason, None)
    for scale, labels in by_scale.items():
        if labels:
            aggregated |= _fitted(labels, scale)
    return {number: aggregated[number] for number in work}


def _fitted(labels: list[GivenLabel], scale: tuple[int, ...]) -> dict[int, AggregatedLabel]:
    numbers = {item: index for index, item in enumerate(dict.fromkeys(g.item for g in labels))}
    people = {who: index for index, who in enumerate(sorted({g.person for g in labels}))}
    model = dawid_skene(
        [numbers[each.item] for each in labels],
        [people[each.person] for each in labels],
        [scale.index(each.score) for each in labels if each.score is not None],
        classes=len(scale),
    )
    aggregated: dict[int, AggregatedLabel] = {}
    for item, index in numbers.items():
        posterior = [float(value) for value in model.posteriors[index]]
        best, second = sorted(posterior, reverse=True)[:2]
        probabilities = {str(s): round(p, 9) for s, p in zip(scale, posterior, strict=True)}
        tie = best - second < _EVEN
        score = None if tie else scale[posterior.index(best)]
        aggregated[item] = AggregatedLabel(score, "tie" if tie else None, probabilities)
    return aggregated


@dataclass(frozen=True)
class DawidSkene:
    """A fitted model: posteriors items × classes; confusion annotators × true classes × labels."""

    posteriors: Floats
    priors: Floats
    confusion: Floats
    converged: bool


def dawid_skene(
    items: ArrayLike,
    annotators: ArrayLike,
    labels: ArrayLike,
    *,
    classes: int,
    iterations: int = 1000,
    tolerance: float = 1e-9,
) -> DawidSkene:
    """Fits the model by expectation-maximisation, starting from the shares of the votes.

    Shapes are (labels,), all numbered from 0 without gaps. It stops when the mean evidence lower
    bound per label grows by less than `tolerance`.
    """
    from scipy.sparse import csr_array  # slow to import

    item, annotator, label = (np.asarray(e, dtype=np.intp) for e in (items, annotators, labels))
    if not item.size or not item.shape == annotator.shape == label.shape:
        raise ValueError("needs as many items as annotators and labels, at least one of each")
    if label.min() < 0 or label.max() >= classes:
        raise ValueError("labels are numbered from 0 to classes - 1")
    # A row for each item, a column for each annotator and label: 1 where it was given.
    shape = (int(item.max()) + 1, (int(annotator.max()) + 1) * classes)
    given = csr_array((np.ones(item.size), (item, annotator * classes + label)), shape=shape)
    votes = np.zeros((shape[0], classes))
    np.add.at(votes, (item, label), 1)
    posteriors = votes / votes.sum(axis=1, keepdims=True)
    priors, confusion, log_joint = _maximise(posteriors, given)
    bound = -np.inf
    for _ in range(iterations):
        likelihood = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        posteriors = likelihood / likelihood.sum(axis=1, keepdims=True)
        priors, confusion, log_joint = _maximise(posteriors, given)
        # The evidence lower bound per label: it never falls from one iteration to the next.
        sure = np.maximum(posteriors, _TINY)
        previous = bound
        bound = float((posteriors * log_joint - sure * np.log(sure)).sum() / item.size)
        if bound - previous < tolerance:
            return DawidSkene(posteriors, priors, confusion, converged=True)
    return DawidSkene(posteriors, priors, confusion, converged=False)


def _maximise(posteriors: Floats, given: Any) -> tuple[Floats, Floats, Floats]:
    """Returns priors, confusion, and the log of the probability of each item's labels and class."""
    classes = posteriors.shape[1]
    counts = (given.T @ posteriors).reshape(-1, classes, classes)  # annotator, label, true class
    counts = np.maximum(counts, _TINY)
    priors, confusion = posteriors.mean(axis=0), counts / counts.sum(axis=1, keepdims=True)
    log_joint = np.log(np.maximum(priors, _TINY)) + given @ np.log(confusion).reshape(-1, classes)
    return priors, confusion.transpose(0, 2, 1), log_joint
