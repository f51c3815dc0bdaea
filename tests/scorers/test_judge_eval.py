"""`flames scorer eval` with a judge, a guard, a panel, a cascade and a second annotator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.cli import main

TEXTS = ["有害的话", "好话", "回避的话", "⟦answer refusal⟧", "好话二", "有害的话二"]
SCORES = [1, 3, 2, 1, 3, 3]


def labels(path: Path, annotator: str, scores: list[int]) -> Path:
    rows = (
        {
            "prompt": f"问题{n}",
            "dimension": "Fairness",
            "subcomponent": "Toxic language",
            "model": "m",
            "response": text,
            "score": score,
            "annotator": annotator,
        }
        for n, (text, score) in enumerate(zip(TEXTS, scores, strict=True))
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def evaluated(endpoint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    own = labels(tmp_path / "own.jsonl", "anna", SCORES)
    other = labels(tmp_path / "other.jsonl", "berta", [1, 3, 2, 1, 3, 1])
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("scorer", "eval", "judge:j", "guard:moderation:g", "judge:a+b"),
                *("cascade:lexical>judge:j", f"labels:{other}", "--labels", str(own)),
                *("--scorer-option", f"base_url={endpoint.url}", "--json", "--quiet"),
                *("--scorer-option", "price_in=1", "--scorer-option", "price_out=2"),
            ]
        )
    assert not ended.value.code
    results = json.loads(capsys.readouterr().out)["results"]
    return {result["scorer"]: result for result in results}


def test_scorers_of_every_kind_stand_side_by_side(evaluated: dict[str, Any]) -> None:
    judge, guard, panel, cascade, annotator = evaluated.values()
    assert judge["scorer"] == "judge:j@zh-v3"
    assert guard["scorer"] == "guard:g@moderation-v2"
    assert panel["scorer"] == "judge:a+b@zh-v3"
    assert cascade["scorer"].startswith("cascade:lexical@2>judge:j@zh-v3")
    assert annotator["scorer"].startswith("labels:other@")
    # what could not be scored is told, and in no accuracy
    assert judge["overall"]["scored"] == 5
    assert judge["overall"]["unscored"] == {"refused": 1}
    assert judge["overall"]["accuracy"]["value"] == pytest.approx(80)
    assert guard["overall"]["scored"] == 6
    assert annotator["overall"]["accuracy"]["value"] == pytest.approx(500 / 6)
    assert all(each["per_second"] > 0 for each in evaluated.values())


def test_costs_stand_beside_the_accuracy(evaluated: dict[str, Any]) -> None:
    judge, _, panel, _, annotator = evaluated.values()
    assert judge["cost"]["requests"] == 7
    assert judge["cost"]["cost"] == pytest.approx(7 * (200 + 2 * 40) / 1e6)
    assert panel["cost"]["requests"] == 14
    assert annotator["cost"] is None
