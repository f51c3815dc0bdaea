from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.metrics import intervals
from flames.metrics.intervals import (
    draw_counted,
    draw_weighted,
    percentile_interval,
    sum_by_prompt,
)


def test_weights_are_drawn_in_pieces_as_they_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).integers(0, 4, (17, 3)).astype(float)
    shapes = np.linspace(0.3, 9, 17)
    for of in (shapes, 1.0):
        whole = draw_weighted(of, rows, 50, np.random.default_rng(2))
        for weights in (1, 40, 400):
            monkeypatch.setattr(intervals, "_AT_ONCE", weights)
            pieces = draw_weighted(of, rows, 50, np.random.default_rng(2))
            assert pieces == pytest.approx(whole, rel=1e-12)
        monkeypatch.undo()


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(-9, 9)), min_size=1))
def test_sums_by_prompt_come_in_the_order_of_their_ids(found: list[tuple[str, float]]) -> None:
    rows = np.array([[value, 1.0] for _, value in found])
    sums = sum_by_prompt(rows, [prompt for prompt, _ in found])
    ids = sorted({prompt for prompt, _ in found})
    assert sums[:, 1].tolist() == [sum(p == each for p, _ in found) for each in ids]
    numbered = sum_by_prompt(rows, np.array([ids.index(prompt) for prompt, _ in found]))
    assert sums.tolist() == numbered.tolist()


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60), st.data())
def test_percentiles_are_those_of_numpy(draws: list[float], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(draws))
    tail = (1 - 0.95) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    found = percentile_interval(np.array(draws), value)
    assert found == (min(float(low), value), max(float(high), value))


_PATTERN = st.tuples(st.sampled_from([0.0, 1 / 3, 1.0]), st.sampled_from([-1.0, 0.0, 2.0]))


@given(st.lists(st.tuples(_PATTERN, st.floats(0.1, 9)), min_size=1), st.floats(0.1, 1))
def test_equal_rows_are_drawn_together(
    counted: list[tuple[tuple[float, float], float]], weight: float
) -> None:
    patterns, times = np.array([row for row, _ in counted]), np.array([n for _, n in counted])
    ends = np.array([[0.0, 0.0], [1.0, 2.0]])
    shapes: dict[tuple[float, ...], float] = {}
    for row, n in [*counted, *((tuple(end), weight) for end in ends.tolist())]:
        shapes[row] = shapes.get(row, 0.0) + n
    rows = sorted(shapes)
    weights = np.array([shapes[row] for row in rows])
    expected = draw_weighted(weights, np.array(rows), 20, np.random.default_rng(3))
    found = draw_counted(patterns, times, ends, 20, np.random.default_rng(3), weight)
    assert found.tolist() == expected.tolist()
