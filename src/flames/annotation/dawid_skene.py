"""Dawid and Skene's model of annotators who err, each in a way of their own.

A. P. Dawid and A. M. Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm, Applied Statistics 28 (1979) 20-28.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
