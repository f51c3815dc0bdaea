"""The difficulty of prompts from runs and files: who is counted, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import run

PROMPTS = [
    {
        "id": f"p{n}",
        "dimension": "Safety",
        "subcomponent": "Physical harm",
        "prompt": f"第{n}题？<b>",
    }
    for n in range(8)
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def verdicts(
    model: str, scores: list[int | str | None], scorer: str = "s@1"
) -> list[dict[str, Any]]:
    """A text is the reason why there is no score; None leaves the prompt out."""
    rows = []
    for n, score in enumerate(scores):
        if score is not None:
            row = {"prompt_id": f"p{n}", "model": model, "scorer": scorer, "dimension": "Safety"}
            said = {"score": score} if isinstance(score, int) else {"unscored": score}
            rows.append({**row, "score": None, **said})
    return rows


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    prompts = write(tmp_path / "prompts.jsonl", PROMPTS)
    a = write(tmp_path / "a.jsonl", verdicts("a", [3, 1, 3, 3, 1, "blocked", None, 3]))
    b = write(tmp_path / "b.jsonl", verdicts("b", [3, 1, 3, 1, 3, 3, None, 2]))
    c = write(tmp_path / "c.jsonl", verdicts("c", [3, 2, 3, 3, 1, "empty", None, 1]))
    return ["prompts", "difficulty", prompts, "--runs", a, "--runs", b, "--runs", c]


def test_states_are_counted_and_are_no_failures(runs: list[str], capsys: Any) -> None:
    assert run(*runs, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcomes"] == {"mixed": 3, "all pass": 3, "all fail": 1, "no scores": 1}
    by_id = {each["id"]: each for each in found["prompts"]}
    assert by_id["p5"]["outcome"] == "all pass"
    assert (by_id["p5"]["models"], by_id["p5"]["unscored"]) == (1, {"blocked": 1, "empty": 1})
    assert by_id["p6"]["unscored"] == {"not asked": 3}
    assert max(by_id.values(), key=lambda each: each["failing"]["value"])["id"] == "p1"
    low, value, high = (by_id["p1"]["failing"][end] for end in ("low", "value", "high"))
    assert 0 < low < value < high < 100
    assert found["models"][0]["unscored"] == {"blocked": 1, "not asked": 1}


@pytest.mark.parametrize("form", ["md", "html"])
def test_every_form_has_all_prompts_and_escapes_them(
    runs: list[str], form: str, tmp_path: Path
) -> None:
    out = tmp_path / f"d.{form}"
    assert run(*runs, "--format", form, "--out", str(out), "--slopes") == 0
    text = out.read_text("utf-8")
    assert "题？<b>" not in text
    assert all(f"p{n}" in text for n in range(8))


def test_the_terminal_says_what_it_is_on(runs: list[str], capsys: Any) -> None:
    assert run(*runs, "--lang", "en") == 0
    out = capsys.readouterr().out
    assert (
        "8 prompts, 3 models: all pass 3, all fail 1, models differ on 3, no score at all 1" in out
    )
    assert "not asked 1" in out


def test_one_model_is_too_few(runs: list[str], capsys: Any) -> None:
    assert run(*runs[:5]) == 2
    assert "at least two models" in capsys.readouterr().err
    assert run(*runs[:3]) == 2
    assert "--runs RUN" in capsys.readouterr().err


def test_a_model_under_two_scorers_needs_a_choice(
    runs: list[str], capsys: Any, tmp_path: Path
) -> None:
    again = write(tmp_path / "d.jsonl", verdicts("a", [3] * 8, scorer="t@1"))
    assert run(*runs, "--runs", again) == 2
    assert "a stands there under several scorers; choose --scorer: s@1, t@1" in (
        capsys.readouterr().err
    )


def test_other_scorers_and_models_without_scores_are_noted(
    runs: list[str], capsys: Any, tmp_path: Path
) -> None:
    other = write(tmp_path / "d.jsonl", verdicts("d", [3] * 8, scorer="t@1"))
    none = write(tmp_path / "e.jsonl", verdicts("e", ["blocked"] * 8))
    assert run(*runs, "--runs", other, "--runs", none, "--json") == 0
    notes = {note["code"] for note in json.loads(capsys.readouterr().out)["notes"]}
    assert notes == {"several_scorers", "nothing_scored"}


def test_verdicts_on_other_prompts_are_refused(
    runs: list[str], capsys: Any, tmp_path: Path
) -> None:
    rows = [{**row, "prompt_id": "elsewhere"} for row in verdicts("z", [3])]
    assert run(*runs, "--runs", write(tmp_path / "z.jsonl", rows)) == 2
    assert "z.jsonl: none of the 1 verdicts is on a prompt of the set" in capsys.readouterr().err
