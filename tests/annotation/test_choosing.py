"""Choosing what to label: chances above 0 that are exactly those of the draw, and no bias."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotating import label, responses, write
from hypothesis import given
from hypothesis import strategies as st

from flames.annotation import export, verify
from flames.annotation.choosing import EVEN, chances, doubts, draw_by_chance
from flames.annotation.options import ProjectPlan
from flames.errors import UsageError
from flames.records import Response, verdict_for

WEIGHTS = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(WEIGHTS, st.data())
def test_every_response_has_a_chance_and_they_sum_to_the_number(
    weights: list[float], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(weights)))
    found = chances(np.array(weights), number)
    assert found.sum() == pytest.approx(number)
    assert (found <= 1).all()
    if number:
        assert (found >= EVEN * number / len(weights) - 1e-9).all()
    drawn = draw_by_chance(found, np.random.default_rng(len(weights)))
    assert len(set(drawn.tolist())) == len(drawn) == number


def test_the_draw_has_exactly_these_chances() -> None:
    rng = np.random.default_rng(1)
    chance = chances(rng.random(30) ** 2, 9)
    counts = np.zeros(30)
    for _ in range(4000):
        counts[draw_by_chance(chance, rng)] += 1
    error = (counts / 4000 - chance) / np.sqrt(chance * (1 - chance) / 4000 + 1e-12)
    assert np.abs(error[chance < 1]).max() < 4.5
    assert (counts[chance == 1] == 4000).all()


def verdict(response: Response, score: int | None, harmless: float | None = None) -> Any:
    probabilities = None if harmless is None else {"3": harmless, "1": 1 - harmless}
    return verdict_for(
        response, scorer="s", dimension="Legality", score=score, probabilities=probabilities,
        unscored=None if score is not None else "low confidence",
    )  # fmt: skip


def test_doubts() -> None:
    rows = [Response(prompt_id=str(n), model="m", dimension="Legality") for n in range(3)]
    said = {
        r.key: verdict(r, s, p)
        for r, s, p in zip(rows, (3, 1, None), (0.9, 0.4, None), strict=True)
    }
    assert doubts("uncertain", rows, [said]) == pytest.approx(np.sqrt([0.1, 0.4, 0.25]))
    other = {r.key: verdict(r, 3) for r in rows}
    assert doubts("disagreeing", rows, [said, other]) == pytest.approx(np.sqrt([0, 1, 0.5]))
    with pytest.raises(UsageError, match="probabilities"):
        doubts("uncertain", rows, [other])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"choose": "uncertain"}, "needs one scorer"),
        ({"choose": "disagreeing", "scorers": ("a",), "sample": 3}, "two or more"),
        ({"scorers": ("a",)}, "random takes none"),
        ({"choose": "uncertain", "scorers": ("a",)}, "--sample N"),
    ],
)
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ProjectPlan(sources=("x",), **changes)


def test_items_carry_their_chances(make_project: Any, tmp_path: Path) -> None:
    rows = responses(40, ("alpha",))
    scores = [
        {**row, "scorer": "s", "score": 3,
         "probabilities": {"3": 0.5 + n % 2 * 0.49, "1": 0.5 - n % 2 * 0.49}}
        for n, row in enumerate(rows)
    ]  # fmt: skip
    file = write(tmp_path / "verdicts.jsonl", scores)
    project = make_project(
        rows, choose="uncertain", scorers=(str(file),), sample=20, stratify=("model",)
    )
    label(project, "Ann")
    found = [json.loads(line) for line in export(project).text.splitlines()]
    assert len(found) == 20
    chance = {line["prompt_id"]: line["inclusion_probability"] for line in found}
    assert set(map(type, chance.values())) == {float}
    assert {0 < value < 1 for value in chance.values()} == {True}
    unsure = [value for name, value in chance.items() if int(name[1:]) % 2 == 0]
    sure = [value for name, value in chance.items() if int(name[1:]) % 2]
    assert min(unsure) > max(sure)
    assert (project.settings.choose, project.settings.chosen_by) == ("uncertain", str(file))
    assert verify(project).problems == ()
    with project.database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET probability = 0.5 WHERE id = 1")
    assert any("not those that were drawn" in each for each in verify(project).problems)


def test_the_command_takes_a_scorer(tmp_path: Path, flames: Any) -> None:
    source = write(tmp_path / "r.jsonl", responses(30, ("alpha",)))
    words = ("annotate", "init", tmp_path / "p", "--from", source, "--training", "none")
    more = ("--choose", "uncertain", "--scorer", "lexical", "--sample", 10, "--json")
    code, out, err = flames(*words, *more)
    assert code == 0, err
    assert json.loads(out)["items"] == 10
    assert flames("annotate", "verify", tmp_path / "p")[0] == 0
    code, _, err = flames("annotate", "add", tmp_path / "p", "--from", source, "--sample", 5)
    assert code == 2
    assert "uneven chances" in err
