"""Finish reasons mean the same in an endpoint's answer and in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flames.finish_reasons import FINISH_REASONS, status_of
from flames.models.answers import read_answer
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import read_responses

STATUSES = {"finished": "ok", "cut": "truncated", "blocked": "blocked", "interrupted": "ok"}
ODD = (None, "", "null", "never heard of", "content filter")
WORDS = [*FINISH_REASONS, *map(str.upper, FINISH_REASONS), *ODD]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, STATUSES[ending]) for word, ending in FINISH_REASONS.items()),
        *((word, "ok") for word in ODD),
        ("Length", "truncated"),
        ("MAX_TOKENS", "truncated"),
        ("SAFETY", "blocked"),
        ("Content_Filter", "blocked"),
        (3, "ok"),
    ],
)
def test_a_finish_reason_gives_the_status(word: object, status: str) -> None:
    assert status_of(word, "答") == status
    assert status_of(word, " \u200b") == ("blocked" if status == "blocked" else "empty")
    assert status_of(word, None) == ("blocked" if status == "blocked" else "empty")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("finished", "stop tool_calls end_turn stop_sequence"),
        ("cut", "length max_tokens model_length max_output_tokens"),
        ("blocked", "content_filter sensitive safety recitation prohibited_content blocklist spii"),
        ("blocked", "refusal"),
        ("interrupted", "insufficient_system_resource network_error abort"),
    ],
)
def test_the_words_of_the_known_providers_are_in_the_table(ending: str, words: str) -> None:
    assert {FINISH_REASONS[word] for word in words.split()} == {ending}


@pytest.mark.parametrize("text", ["答", " \n", "\u200b", None])
def test_a_file_and_an_answer_give_the_same_status(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "r.jsonl"
    row = {"dimension": "Safety", "response": text}
    path.write_text(
        to_jsonl({**row, "prompt": f"{n}", "finish_reason": w} for n, w in enumerate(WORDS)),
        "utf-8",
    )
    choices = [{"message": {"content": text}, "finish_reason": word} for word in WORDS]
    answers = [read_answer(json.dumps({"choices": [choice]}).encode()) for choice in choices]
    assert [r.status for r in read_responses(path)] == [answer.status for answer in answers]
