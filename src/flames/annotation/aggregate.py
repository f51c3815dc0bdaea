"""One label an item from several: by decision, by majority, by Dawid and Skene's model.

Dawid and Skene's model of annotators who err, each in a way of their own.

A. P. Dawid and A. M. Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm, Applied Statistics 28 (1979) 20-28.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flames.annotation.ledger import GivenLabel, Item, Ledger
from flames.taxonomy import Taxonomy

Method = Literal["adjudicated", "majority", "dawid-skene"]

_EVEN = 1e-9


class AggregatedLabel(NamedTuple):
    """What an item's labels come to: a score, or the reason why there is none.

    `probabilities` are shares of the votes, or posteriors; `adjudicator` is who decided.
    """

    score: int | None
    unscored: str | None
    probabilities: dict[str, float] | None
    reason: str | None = None
    adjudicator: int | None = None


def answers_by_item(ledger: Ledger) -> dict[int, list[GivenLabel]]:
    """Labels and flags of each item; skips say nothing of it."""
    found: dict[int, list[GivenLabel]] = defaultdict(list)
    for key in sorted(ledger.answers):
        given = ledger.answers[key]
        if given.answer != "skipped":
            found[given.item].append(given)
    return found


def aggregate(
    method: Method, ledger: Ledger, items: Mapping[int, Item], taxonomy: Taxonomy
) -> dict[int, AggregatedLabel]:
    """One outcome for every item of the sample, by item.

    `adjudicated` takes decisions, and unanimous labels where there are as many as there should
    be; everything else is unscored with its reason. `majority` takes the most frequent answer (a
    flag is an answer too); a tie is unscored. `dawid-skene` weighs annotators by how they err,
    fitted over all dimensions that share a scale.
    """
    answers = answers_by_item(ledger)
    work = {number: item for number, item in items.items() if item.kind == "work"}
    if method == "dawid-skene":
        return _dawid_skene(answers, work, taxonomy)
    outcome: dict[int, AggregatedLabel] = {}
    for number, item in work.items():
        given = answers.get(number, [])
        scale = taxonomy.dimension(item.dimension).scale
        if method == "majority":
            outcome[number] = _majority(given, scale)
        else:
            outcome[number] = _adjudicated(ledger, item, given, scale)
    return outcome


def unanimous(given: list[GivenLabel], quota: int | None) -> bool:
    """Whether an item needs no adjudicator: enough labels, all the same, no flag."""
    scores = {each.score for each in given}
    return len(given) >= (quota or 1) and len(scores) == 1 and None not in scores


def _adjudicated(
    ledger: Ledger, item: Item, given: list[GivenLabel], scale: tuple[int, ...]
) -> AggregatedLabel:
    shares = _shares(given, scale)
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


def _majority(given: list[GivenLabel], scale: tuple[int, ...]) -> AggregatedLabel:
    if not given:
        return AggregatedLabel(None, "no label", None)
    votes = Counter(each.score for each in given).most_common()
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        return AggregatedLabel(None, "tie", _shares(given, scale))
    score = votes[0][0]
    return AggregatedLabel(score, "flagged" if score is None else None, _shares(given, scale))


def _shares(given: list[GivenLabel], scale: tuple[int, ...]) -> dict[str, float] | None:
    scores = [each.score for each in given if each.score is not None]
    if not scores:
        return None
    return {str(score): scores.count(score) / len(scores) for score in scale}


def _dawid_skene(
    answers: Mapping[int, list[GivenLabel]], work: Mapping[int, Item], taxonomy: Taxonomy
) -> dict[int, AggregatedLabel]:
    outcome: dict[int, AggregatedLabel] = {}
    by_scale: dict[tuple[int, ...], list[GivenLabel]] = defaultdict(list)
    for number, item in work.items():
        labels = [each for each in answers.get(number, []) if each.score is not None]
        by_scale[taxonomy.dimension(item.dimension).scale] += labels
        if not labels:
            outcome[number] = AggregatedLabel(
                None, "flagged" if number in answers else "no label", None
            )
    for scale, labels in by_scale.items():
        if labels:
            outcome |= _fitted(labels, scale)
    return {number: outcome[number] for number in work}


def _fitted(labels: list[GivenLabel], scale: tuple[int, ...]) -> dict[int, AggregatedLabel]:
    numbers = {item: index for index, item in enumerate(dict.fromkeys(g.item for g in labels))}
    people = {who: index for index, who in enumerate(sorted({g.person for g in labels}))}
    model = dawid_skene(
        [numbers[each.item] for each in labels],
        [people[each.person] for each in labels],
        [scale.index(each.score) for each in labels if each.score is not None],
        classes=len(scale),
    )
    outcome: dict[int, AggregatedLabel] = {}
    for item, index in numbers.items():
        posterior = [float(value) for value in model.posteriors[index]]
        best, second = sorted(posterior, reverse=True)[:2]
        probabilities = {str(s): round(p, 9) for s, p in zip(scale, posterior, strict=True)}
        if best - second < _EVEN:
            outcome[item] = AggregatedLabel(None, "tie", probabilities)
        else:
            score = scale[posterior.index(best)]
            outcome[item] = AggregatedLabel(score, None, probabilities)
    return outcome


Floats = NDArray[np.float64]

_TINY = 1e-10  # keeps a class that nobody ever saw from a probability of nought


@dataclass(frozen=True)
class DawidSkene:
    """A fitted model.

    Args:
        posteriors: Probability of each class, items × classes; rows sum to 1.
        priors: Share of each class, classes.
        confusion: Probability that an annotator gives a label to an item of a class,
            annotators × true classes × labels; rows sum to 1.
        iterations: Of the expectation-maximisation algorithm.
        converged: Whether it stopped because nothing moved any more.
    """

    posteriors: Floats
    priors: Floats
    confusion: Floats
    iterations: int
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

    Args:
        items: Item of each label, numbered from 0 without gaps; shape (labels,).
        annotators: Who gave it, numbered from 0 without gaps; shape (labels,).
        labels: The label given, 0 … classes − 1; shape (labels,).
        classes: How many classes there are.
        iterations: At most that many.
        tolerance: Stops when the mean evidence lower bound of a label grows by less.

    Raises:
        ValueError: There is no label, or the arrays do not fit each other.
    """
    item, annotator, label = (
        np.asarray(each, dtype=np.intp) for each in (items, annotators, labels)
    )
    if not item.size or not item.shape == annotator.shape == label.shape:
        raise ValueError("needs as many items as annotators and labels, at least one of each")
    if label.min() < 0 or label.max() >= classes:
        raise ValueError("labels are numbered from 0 to classes - 1")
    n_items, n_annotators = int(item.max()) + 1, int(annotator.max()) + 1
    # One row a label given, so that sums over items and annotators are single calls.
    one_hot = np.eye(classes)[label]
    votes = np.zeros((n_items, classes))
    np.add.at(votes, item, one_hot)
    posteriors = votes / votes.sum(axis=1, keepdims=True)
    bound, done, converged = -np.inf, 0, False
    priors, confusion = _maximise(posteriors, item, annotator, label, n_annotators, classes)
    for done in range(1, iterations + 1):  # noqa: B007  (told in the result)
        posteriors = _expect(priors, confusion, item, annotator, label, n_items)
        priors, confusion = _maximise(posteriors, item, annotator, label, n_annotators, classes)
        new = _bound(posteriors, priors, confusion, item, annotator, label)
        if new - bound < tolerance:
            converged = True
            break
        bound = new
    return DawidSkene(posteriors, priors, confusion, done, converged)


Indices = NDArray[np.intp]


def _maximise(
    posteriors: Floats,
    item: Indices,
    annotator: Indices,
    label: Indices,
    n_annotators: int,
    classes: int,
) -> tuple[Floats, Floats]:
    counts = np.zeros((n_annotators, classes, classes))
    np.add.at(counts.transpose(0, 2, 1), (annotator, label), posteriors[item])
    counts = np.maximum(counts, _TINY)
    return posteriors.mean(axis=0), counts / counts.sum(axis=2, keepdims=True)


def _expect(
    priors: Floats,
    confusion: Floats,
    item: Indices,
    annotator: Indices,
    label: Indices,
    n_items: int,
) -> Floats:
    log = np.tile(np.log(np.maximum(priors, _TINY)), (n_items, 1))
    np.add.at(log, item, np.log(confusion[annotator, :, label]))
    log -= log.max(axis=1, keepdims=True)
    likelihood = np.exp(log)
    posteriors: Floats = likelihood / likelihood.sum(axis=1, keepdims=True)
    return posteriors


def _bound(
    posteriors: Floats,
    priors: Floats,
    confusion: Floats,
    item: Indices,
    annotator: Indices,
    label: Indices,
) -> float:
    """The evidence lower bound, a label: it never falls from one iteration to the next."""
    joint = (posteriors * np.log(np.maximum(priors, _TINY))).sum()
    joint += (posteriors[item] * np.log(confusion[annotator, :, label])).sum()
    sure = np.maximum(posteriors, _TINY)
    return float((joint - (sure * np.log(sure)).sum()) / len(item))
