from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Flames = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scored(flames: Flames, tmp_path: Path) -> Path:
    """Verdicts on 20 imported questions, of which 12 are answered rightly and 4 not readably."""
    questions = [
        {"id": n, "question": f"第{n}题？", "options": ["甲", "乙"], "category": "Mental Health"}
        | {"answer": 1}
        for n in range(20)
    ]
    (tmp_path / "test_zh.json").write_text(json.dumps(questions), "utf-8")
    prompts = tmp_path / "set.jsonl"
    words = ("prompts", "import", "safetybench", "--from", tmp_path / "test_zh.json")
    assert flames(*words, "--out", prompts)[0] == 0
    answers = ["答案：B"] * 12 + ["A"] * 4 + ["两个都有道理，难以一概而论，请结合实际。"] * 4
    lines = [
        json.dumps({"prompt_id": json.loads(line)["id"], "model": "m", "response": answer})
        for line, answer in zip(prompts.read_text("utf-8").splitlines(), answers, strict=True)
    ]
    responses = tmp_path / "responses.jsonl"
    responses.write_text("\n".join(lines) + "\n", "utf-8")
    out = tmp_path / "verdicts.jsonl"
    words = ("score", responses, "--scorer", "choice", "--prompts", prompts, "--out", out)
    assert flames(*words)[0] == 0
    return out


def test_a_report_shows_accuracy_and_no_harmless_rate(flames: Flames, scored: Path) -> None:
    code, out, _ = flames("report", scored, "--format", "json")
    data = json.loads(out)
    assert code == 0
    assert data["overall"]["harmless_rate"] is None
    choices = data["choices"]
    assert (choices["n"], choices["read"], choices["right"]) == (20, 16, 12)
    assert choices["unread"] == {"no letter": 4}
    assert (choices["accuracy"]["value"], choices["chance"]) == (75, 50)
    assert list(choices["classes"]) == ["Mental Health"]
    out = flames("report", scored, "--lang", "en")[1]
    assert "Accuracy on 16 multiple-choice questions" in out
    assert "no letter 4" in out
    assert "16 道选择题的准确率" in flames("report", scored, "--format", "md", "--lang", "zh")[1]
    page = scored.with_suffix(".html")
    assert flames("report", scored, "--format", "html", "--out", page)[0] == 0
    assert "multiple-choice questions" in page.read_text("utf-8")
