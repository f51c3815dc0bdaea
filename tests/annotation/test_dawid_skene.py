"""Dawid and Skene's model beside crowd-kit's, and on data whose answer is known.

`dawid_skene_reference.json` holds what crowd-kit 1.4.2 gives on random labels, made by

    python tests/annotation/test_dawid_skene.py

in an environment with crowd-kit, which Flames does not depend on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import annotating  # noqa: F401  (skips without the extra)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.annotation.aggregate import dawid_skene

REFERENCE = Path(__file__).with_name("dawid_skene_reference.json")
SHAPES = ((40, 4, 3, 3), (25, 6, 2, 4), (60, 5, 3, 2), (12, 3, 3, 3))


def random_labels(seed: int, n_items: int, n_people: int, classes: int, each: int) -> Any:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n_items)
    rows = []
    for item in range(n_items):
        for person in rng.permutation(n_people)[:each]:
            right = rng.random() < 0.6 + 0.35 * person / n_people
            label = truth[item] if right else rng.integers(0, classes)
            rows.append((item, int(person), int(label)))
    return rows


def make_reference() -> None:
    import pandas as pd
    from crowdkit.aggregation.classification.dawid_skene import DawidSkene

    cases = []
    for seed, shape in enumerate(SHAPES):
        rows, classes = random_labels(seed, *shape), shape[2]
        table = pd.DataFrame(rows, columns=["task", "worker", "label"])
        for iterations in (1, 5, 40):
            model = DawidSkene(n_iter=iterations, tol=-1e9).fit(table)
            posteriors = model.probas_.reindex(columns=range(classes)).fillna(0).sort_index()
            priors = model.priors_.reindex(range(classes)).fillna(0)
            cases.append(
                dict(zip(("items", "annotators", "labels"), zip(*rows, strict=True), strict=True))
                | {
                    "classes": classes,
                    "iterations": iterations,
                    "posteriors": np.round(posteriors.values, 8).tolist(),
                    "priors": np.round(priors.values, 8).tolist(),
                }
            )
    REFERENCE.write_text(json.dumps(cases), "utf-8")


@pytest.mark.parametrize("case", json.loads(REFERENCE.read_text("utf-8")))
def test_it_gives_what_crowd_kit_gives(case: Any) -> None:
    model = dawid_skene(
        case["items"], case["annotators"], case["labels"], classes=case["classes"],
        iterations=case["iterations"], tolerance=-np.inf,
    )  # fmt: skip
    assert not model.converged
    np.testing.assert_allclose(model.posteriors, case["posteriors"], atol=2e-7)
    np.testing.assert_allclose(model.priors, case["priors"], atol=2e-7)


def test_one_careless_annotator_is_outvoted_by_a_careful_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    reliable = [truth, truth, np.where(rng.random(300) < 0.5, truth, 1 - truth)]
    model = dawid_skene(
        np.tile(np.arange(300), 3), np.repeat(np.arange(3), 300), np.concatenate(reliable),
        classes=2,
    )  # fmt: skip
    assert model.converged
    assert (model.posteriors.argmax(1) == truth).all()
    assert np.diagonal(model.confusion[0]).min() > 0.99
    assert np.diagonal(model.confusion[2]).max() < 0.65


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(2, 4), st.integers(1, 12), st.integers(1, 4))
def test_probabilities_are_probabilities(
    data: st.DataObject, classes: int, n_items: int, n_people: int
) -> None:
    label = st.integers(0, classes - 1)
    rows = [
        (item, person, data.draw(label))
        for item in range(n_items)
        for person in range(n_people)
        if person == 0 or data.draw(st.booleans())
    ]
    items, people, labels = (np.array(column) for column in zip(*rows, strict=True))
    people = np.unique(people, return_inverse=True)[1]
    model = dawid_skene(items, people, labels, classes=classes, iterations=50)
    np.testing.assert_allclose(model.posteriors.sum(1), 1)
    np.testing.assert_allclose(model.confusion.sum(2), 1)
    assert model.priors.sum() == pytest.approx(1)
    # Who is called first must not matter.
    renumbered = dawid_skene(items, people.max() - people, labels, classes=classes, iterations=50)
    np.testing.assert_allclose(renumbered.posteriors, model.posteriors, atol=1e-6)


@pytest.mark.parametrize(
    "arrays", [([], [], []), ([0], [0, 1], [0, 1]), ([0], [0], [2]), ([0], [0], [-1])]
)
def test_arrays_that_do_not_fit_are_refused(arrays: Any) -> None:
    with pytest.raises(ValueError, match=r"needs|numbered"):
        dawid_skene(*arrays, classes=2)


if __name__ == "__main__":
    make_reference()
