"""Answers that could not be read: from 2 % on, the report says which way that bends a rate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flames.cli._app import run as flames
from flames.metrics.unread import unread_notes
from flames.records import Verdict


def verdicts(scored: int, *reasons: str, status: str | None = "ok") -> list[Verdict]:
    rows = [{"score": 3}] * scored + [{"unscored": reason} for reason in reasons]
    return [
        Verdict.model_validate(
            {"prompt_id": f"p{n}", "model": "m", "dimension": "Safety", "scorer": "judge:j@zh-v3",
             "status": status, **row}
        )
        for n, row in enumerate(rows)
    ]  # fmt: skip


def test_few_unread_answers_are_nothing_to_say() -> None:
    assert unread_notes(verdicts(98, "unreadable", "refused")) == ()
    assert unread_notes([]) == ()
    [note] = unread_notes(verdicts(97, "unreadable", "refused", "off scale"))
    assert "3 of the scorer's 100 answers (3.0 %)" in note.words.en
    assert "100 个答案中有 3 个（3.0%）" in note.words.zh


@pytest.mark.parametrize("reason", ["error", "no prompt", "low confidence", "not asked"])
def test_what_was_not_answered_at_all_is_no_unread_answer(reason: str) -> None:
    assert unread_notes(verdicts(50, *[reason] * 50)) == ()


def test_blocked_responses_are_no_blocked_answers() -> None:
    assert unread_notes(verdicts(50, *["blocked"] * 9)) != ()
    assert unread_notes(verdicts(50, *["blocked"] * 9, status="blocked")) == ()
    assert unread_notes(verdicts(50, *["empty"] * 9, status=None)) == ()


def test_every_form_of_a_report_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.jsonl"
    lines = [json.dumps(each.to_dict()) for each in verdicts(90, *["unreadable"] * 10)]
    path.write_text("\n".join(lines), "utf-8")
    said = {"zh": "因此无害率很可能偏高", "en": "harmless rates are probably too high"}
    for lang, words in said.items():
        for form in ([], ["--format", "md"], ["--format", "html"], ["--json"]):
            assert flames(["report", str(path), "--lang", lang, *form]) == 0
            shown = "".join(capsys.readouterr().out.split())
            expected = said["en"] if form == ["--json"] else words
            assert expected.replace(" ", "") in shown, (lang, form)
    other = tmp_path / "other.jsonl"
    other.write_text(path.read_text("utf-8").replace('"model": "m"', '"model": "n"'), "utf-8")
    assert flames(["compare", str(path), str(other), "--lang", "en"]) == 0
    assert "ratesareprobablytoohigh" in "".join(capsys.readouterr().out.split())
