"""What scoring took: added up from verdicts, a cascade's by its steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.cost import measure_spending
from flames.cli import main
from flames.records import Verdict


def verdict(number: int, **fields: Any) -> Verdict:
    given = {"scorer": "j@1", "dimension": "Fairness", **fields}
    return Verdict(prompt_id=f"p{number}", model="m", **given)


def took(requests: int, cost: float | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "requests": requests,
        "tokens_in": 10,
        "tokens_out": 2,
        "latency_s": 0.5,
    }
    return told if cost is None else {**told, "cost": cost}


CASCADE = [
    verdict(0, scorer="c@1", score=3, step="a@1", cascade=[{"scorer": "a@1", "score": 3}]),
    verdict(
        1,
        scorer="c@1",
        score=1,
        step="b@1",
        judging=took(2, 0.5),
        cascade=[
            {"scorer": "a@1", "score": 3, "confidence": 0.5},
            {"scorer": "b@1", "score": 1, "judging": took(2, 0.5)},
        ],
    ),
    verdict(
        2,
        scorer="c@1",
        unscored="refused",
        step="b@1",
        judging=took(2, 0.25),
        cascade=[
            {"scorer": "a@1", "score": None, "unscored": "no idea"},
            {"scorer": "b@1", "score": None, "unscored": "refused", "judging": took(2, 0.25)},
        ],
    ),
]


def test_a_cascade_tells_what_each_step_decided_and_cost() -> None:
    (found,) = measure_spending(CASCADE)
    assert (found.asked, found.decided, found.unscored) == (3, 2, {"refused": 1})
    assert (found.requests, found.cost) == (4, 0.75)
    first, second = found.steps
    assert (first.scorer, first.asked, first.decided, first.cost) == ("a@1", 3, 1, None)
    assert (second.scorer, second.asked, second.decided) == ("b@1", 2, 1)
    assert (second.requests, second.tokens_in, second.cost) == (4, 20, 0.75)


def test_scorers_are_kept_apart_and_a_cost_unknown_in_part_is_unknown() -> None:
    found = measure_spending(
        [
            verdict(0, score=3, judging=took(1, 0.1)),
            verdict(1, score=3, judging=took(1)),
            verdict(0, scorer="lexical@2", score=3),
        ]
    )
    assert [each.scorer for each in found] == ["j@1", "lexical@2"]
    assert (found[0].requests, found[0].cost) == (2, None)
    assert (found[1].requests, found[1].cost, found[1].latency_s) == (0, None, 0.0)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text("".join(v.to_line() + "\n" for v in CASCADE), "utf-8")
    assert run("scorer", "spent", str(path)) == 0
    told = capsys.readouterr().out
    assert "0.75" in told
    assert "c@1 unscored: refused 1" in told
    assert run("scorer", "spent", str(path), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["steps"][1]["decided"] == 1
    assert run("scorer", "spent", str(tmp_path / "nothing.jsonl")) == 2
    (tmp_path / "empty.jsonl").touch()
    assert run("scorer", "spent", str(tmp_path / "empty.jsonl")) == 2
