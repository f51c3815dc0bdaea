"""Finish reasons mean the same in an endpoint's answer and in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.finish_reasons import FINISH_REASONS, ending_of, status_of
from flames.models.answers import read_answer
from flames.models.base import TransientFailure
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import read_responses

STATUSES = {"finished": "ok", "cut": "truncated", "blocked": "blocked", "interrupted": "error"}
ODD = (None, "", "null", "never heard of")
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
        ("content filter", "blocked"),
        ("content-filter", "blocked"),
        ("maxTokens", "truncated"),
        ("FINISH_REASON_SAFETY", "blocked"),
        ("FinishReason.MAX_TOKENS", "truncated"),
        ("REASON_STOP", "ok"),
        ({"type": "abort", "message": "Aborted"}, "error"),
        ({"type": "length", "length": 9}, "truncated"),
        ({"odd": 1}, "ok"),
        (3, "ok"),
    ],
)
def test_a_finish_reason_gives_the_status(word: object, status: str) -> None:
    assert status_of(word, "答") == status
    without = status if status in ("blocked", "error") else "empty"
    assert status_of(word, " \u200b") == status_of(word, None) == without


@pytest.mark.parametrize(
    ("word", "thought", "unclosed", "status"),
    [
        ("length", True, False, "truncated in thought"),
        ("length", True, True, "truncated in thought"),
        (None, True, True, "truncated in thought"),
        ("stop", True, True, "empty"),
        (None, True, False, "empty"),
        ("length", False, False, "empty"),
        ("sensitive", True, True, "blocked"),
        ("abort", True, True, "error"),
    ],
)
def test_thinking_without_an_answer_says_why(
    word: str | None, thought: bool, unclosed: bool, status: str
) -> None:
    assert status_of(word, "", thought=thought, unclosed=unclosed) == status


def test_the_worst_of_two_reasons_counts() -> None:
    assert ending_of("error", "SAFETY") == "blocked"
    assert ending_of("stop", "MAX_TOKENS") == "cut"
    assert ending_of("odd", "stop") == "finished"
    assert ending_of("odd", None, "null") is None


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
    asked = [status_asked(choice) for choice in choices]
    assert [r.status for r in read_responses(path)] == asked


def status_asked(choice: dict[str, Any]) -> str:
    try:
        return read_answer(json.dumps({"choices": [choice]}).encode()).status
    except TransientFailure:
        return "error"


def test_a_file_says_which_endings_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    row = {"dimension": "Safety", "response": "答"}
    endings = ("stop", "odd", None, {"type": "abort"}, "sensitive")
    path.write_text(
        to_jsonl({**row, "prompt": str(n), "finish_reason": e} for n, e in enumerate(endings)),
        "utf-8",
    )
    read = list(read_responses(path))
    assert [r.extra.get("unknown_ending") for r in read] == [None, True, None, None, None]
    assert [r.finish_reason for r in read] == ["stop", "odd", None, "abort", "sensitive"]
    assert (read[3].status, read[3].error) == ("error", "finish_reason abort")
    assert read[3].extra["input_finish_reason"] == {"type": "abort"}
