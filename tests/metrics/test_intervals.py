from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.metrics import intervals
from flames.metrics.intervals import draw_weighted, sum_by_prompt


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
