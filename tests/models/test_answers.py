"""What an endpoint's answer becomes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.models.answers import read_answer
from flames.models.base import Reply, RequestError, TransientFailure


def answer(content: Any = "好的。", finish: str | None = "stop", **message: Any) -> bytes:
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3}}).encode()


@pytest.mark.parametrize(
    ("raw", "status", "text", "reasoning"),
    [
        (answer(), "ok", "好的。", None),
        (answer(finish=None), "ok", "好的。", None),
        (answer(finish="length"), "truncated", "好的。", None),
        (answer(finish="content_filter"), "blocked", "好的。", None),
        (answer("", "sensitive"), "blocked", "", None),
        (answer(" \n"), "empty", " \n", None),
        (answer(None), "empty", "", None),
        (answer(None, refusal="我不能帮忙。"), "ok", "我不能帮忙。", None),
        (answer(reasoning_content="想"), "ok", "好的。", "想"),
        (answer(reasoning="想"), "ok", "好的。", "想"),
        (answer(None, "length", reasoning_content="想"), "truncated in thought", "", "想"),
        (answer("<think>想</think>\n\n好的。"), "ok", "好的。", "想"),
        (answer("<think>\n想"), "empty", "", "想"),
        (answer("想\n</think>好的。"), "ok", "好的。", "想"),
        (answer("<THINK>一</think>好<think>二</think>的"), "ok", "好<think>二</think>的", "一"),
        (answer("<seed:think>想", "length"), "truncated in thought", "", "想"),
        (answer("<|channel|>analysis<|message|>想", None), "truncated in thought", "", "想"),
        (
            answer([{"type": "text", "text": "好"}, {"type": "text", "text": "的"}]),
            "ok",
            "好的",
            None,
        ),
        (
            answer(
                [{"type": "thinking", "thinking": [{"text": "想"}]}, {"type": "text", "text": "好"}]
            ),
            "ok",
            "好",
            "想",
        ),
        (b'{"choices": [{"text": "done", "finish_reason": "stop"}]}', "ok", "done", None),
        (answer("\ud83d好"), "ok", "\ufffd好", None),
    ],
)
def test_answers_are_told_apart(raw: bytes, status: str, text: str, reasoning: str | None) -> None:
    reply = read_answer(raw)
    assert (reply.status, reply.text, reply.reasoning) == (status, text, reasoning)


def test_the_finish_reason_of_thoughts_without_an_answer_is_kept() -> None:
    assert read_answer(answer("<think>想", "length")).finish_reason == "length"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>busy</html>",
        b'{"choices": [{"mess',
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": ["x"]}',
        b'{"id": "1"}',
        b"[" * 100_000,
        "\udcff".encode("utf-8", "surrogateescape"),
    ],
)
def test_what_holds_no_answer_is_worth_another_attempt(raw: bytes) -> None:
    with pytest.raises(TransientFailure) as error:
        read_answer(raw)
    assert len(str(error.value)) < 200


def test_errors_in_an_ordinary_answer_are_read() -> None:
    minimax = {
        "choices": None,
        "base_resp": {"status_code": 1027, "status_msg": "output sensitive"},
    }
    assert read_answer(json.dumps(minimax).encode()).status == "blocked"
    inside = {"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {}}]}
    with pytest.raises(TransientFailure, match="upstream"):
        read_answer(json.dumps(inside).encode())


def test_usage_is_kept_as_far_as_json_can_hold_it_again() -> None:
    counts = '{"prompt_tokens": 3, "completion_tokens": 4, "a": NaN, "b": 1e999, "c": {"d": [[1]]}}'
    raw = f'{{"choices": [{{"message": {{"content": "x"}}}}], "usage": {counts}}}'.encode()
    usage = read_answer(raw).usage
    assert usage is not None
    assert (usage.tokens_in, usage.tokens_out) == (3, 4)
    json.dumps(usage, allow_nan=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "message",
                        "content",
                        "text",
                        "error",
                        "usage",
                        "finish_reason",
                        "base_resp",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_no_answer_however_odd_breaks_the_reader(body: Any) -> None:
    with contextlib.suppress(RequestError):
        assert isinstance(read_answer(json.dumps(body).encode()), Reply)
