from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.metrics.columns import Columns, StoredVerdicts
from flames.records import Verdict
from flames.storage import spill
from flames.storage.spill import Spill

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = set(Verdict.model_fields)
EXTRA = st.dictionaries(st.text(min_size=1).filter(lambda name: name not in FIELDS), JSON)
VERDICTS = st.builds(
    lambda extra, **fields: Verdict(**fields, **extra),
    prompt_id=st.sampled_from(["a", "b"]),
    model=st.sampled_from(["m", "n"]),
    sample=st.integers(0, 2**40),
    dimension=st.sampled_from(["Safety", "Legality"]),
    subcomponent=st.none() | st.text(max_size=3),
    scorer=st.just("s@1"),
    score=st.none() | st.integers(1, 5),
    unscored=st.none() | st.just("blocked"),
    probabilities=st.none() | st.dictionaries(st.sampled_from("123x"), st.floats(0, 1)),
    rationale=st.none() | st.text(),
    extra=EXTRA,
)


@given(st.lists(VERDICTS, max_size=12))
@settings(max_examples=60, deadline=None)
def test_stored_verdicts_are_what_was_stored(verdicts: list[Verdict]) -> None:
    stored = StoredVerdicts(verdicts)
    assert list(stored) == verdicts
    assert [verdict.to_dict() for verdict in stored] == [each.to_dict() for each in verdicts]
    assert stored[1:3] == tuple(verdicts[1:3])
    order = np.arange(len(verdicts))[::-1]
    assert list(stored.taken(order)) == verdicts[::-1]
    for verdict in verdicts:
        found = stored.row_of(verdict.key)
        assert found is not None
        assert stored[found].key == verdict.key


def test_what_is_not_there_is_not_found() -> None:
    stored = StoredVerdicts([one(prompt_id="a", sample=1)])
    for missing in (one(prompt_id="b", sample=1), one(sample=2), one(model="x", sample=1)):
        assert stored.row_of(missing.key) is None
    with pytest.raises(IndexError):
        stored[1]
    assert stored[-1].prompt_id == "a"


def one(**fields: Any) -> Verdict:
    given: dict[str, Any] = {"prompt_id": "a", "model": "m", "dimension": "Safety", "scorer": "s"}
    return Verdict(**{**given, **fields})


def test_a_probability_without_a_name_is_none_of_it_and_none_without_any() -> None:
    rows = [one(score=1), one(score=1, probabilities={"3": 1.0}), one(probabilities={"x": 0.5})]
    columns = Columns.of([*rows, one(probabilities={"1": 0.25, "3": 0.75})])
    assert columns.chance_of(1, np.arange(4)).tolist()[1:] == [0.0, 0.0, 0.25]
    assert np.isnan(columns.chance_of(1, np.arange(4))[0])
    assert columns.chance_of(2, np.arange(4)).tolist()[1:] == [0.0, 0.0, 0.0]


def test_hostile_probabilities_make_no_column_each() -> None:
    names = {str(number): 0.0 for number in range(2000)}
    columns = Columns.of([one(probabilities={**names, "9" * 500: 1.0})])
    assert len(columns.chances) <= 128


def test_values_come_back_from_memory_and_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_IN_MEMORY", 100)
    kept = Spill()
    values: list[Any] = ["\ud83d", {"a": [1.5, None]}, "长" * 60, date(2026, 1, 2), 2**80, ""]
    places = [kept.add(value) for value in values * 5]
    assert [kept.get(place) for place in reversed(places)] == (values * 5)[::-1]
    assert kept.get(kept.add("later")) == "later"
