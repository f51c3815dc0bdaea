"""Bodies that come as streams are read as the answers that they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.models.answers import read_answer
from flames.models.base import RateLimited, Reply, RequestError, TransientFailure
from flames.models.streams import BrokenStream, read_body


def sse(*chunks: Any, end: str = "data: [DONE]\n\n", line: str = "\n") -> bytes:
    texts = (chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks)
    return ("".join(f"data: {text}{line}{line}" for text in texts) + end).encode()


def delta(content: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    piece = {"role": "assistant", "content": content, **more}
    return {"id": "1", "choices": [{"index": 0, "delta": piece, "finish_reason": finish}]}


USAGE = {"id": "1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
def test_a_stream_is_one_answer(line: str) -> None:
    chunks = (delta("好"), delta("的。"), delta(None, "stop"), USAGE)
    reply = read_answer(sse(*chunks, line=line))
    assert (reply.status, reply.text, reply.finish_reason) == ("ok", "好的。", "stop")
    assert reply.usage is not None
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (3, 2)


def test_thoughts_refusals_and_calls_come_in_pieces_too() -> None:
    thoughts = (delta(reasoning_content="先"), delta(reasoning_content="想"), delta("答", "stop"))
    reply = read_answer(sse(*thoughts))
    assert (reply.text, reply.reasoning) == ("答", "先想")
    refused = (delta(refusal="不"), delta(refusal="行", finish="stop"))
    assert read_answer(sse(*refused)).text == "不行"
    first = {"index": 0, "id": "c", "function": {"name": "verdict", "arguments": '{"score"'}}
    second = {"index": 0, "function": {"arguments": ": 3}"}}
    calls = (delta(tool_calls=[first]), delta(tool_calls=[second]), delta(None, "tool_calls"))
    body = read_body(sse(*calls))
    [call] = body["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "verdict", "arguments": '{"score": 3}'}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"choices": [{"message": {"content": "x"}, "finish_reason": ""}]}\n\ndata: [DONE]\n\n',
        b'\n\n\n{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}',
        b': OPENROUTER PROCESSING\n\n{"choices": [{"message": {"content": "x"}}]}',
        b': ping\n\ndata: {"choices": [{"message": {"content": "x"}}]}\n\ndata: [DONE]',
        b'data: {"choices": [{"delta": {"content": "x"}}]}\ndata: [DONE]\n',
        b'data:{"choices": [{"delta": {"content": "x"}}]}\n\ndata:[DONE]\n\n',
        b'event: message\nid: 1\ndata: {"choices": [{"text": "x"}]}\n\ndata: [DONE]\n\n',
        b'data: {"choices":\ndata: [{"text": "x"}]}\n\ndata: [DONE]\n\n',
    ],
)
def test_odd_bodies_are_read(raw: bytes) -> None:
    assert read_answer(raw).text == "x"


def test_a_whole_message_behind_its_pieces_counts_once() -> None:
    whole = {"choices": [{"index": 0, "message": {"content": "好的"}, "finish_reason": "stop"}]}
    assert read_answer(sse(delta("好"), delta("的"), whole)).text == "好的"


@pytest.mark.parametrize("cut", [sse(delta("半句"), end=""), sse(delta("半"), '{"choi', end="")])
def test_a_stream_without_an_end_is_a_failure(cut: bytes) -> None:
    with pytest.raises(TransientFailure, match="stream broke off"):
        read_answer(cut)


def test_errors_inside_a_stream_are_read() -> None:
    with pytest.raises(RateLimited, match="slow"):
        read_answer(sse(delta("半句"), {"error": {"code": 429, "message": "slow down"}}))
    with pytest.raises(TransientFailure, match="overloaded"):
        read_answer(sse(delta("半句"), end='event: error\ndata: {"message": "overloaded"}\n\n'))
    filtered = {"error": {"code": "content_filter", "message": "filtered"}}
    reply = read_answer(sse(delta("半句"), filtered))
    assert (reply.status, reply.text) == ("blocked", "半句")
    with pytest.raises(TransientFailure, match="network_error"):
        read_answer(sse(delta("半句"), delta(None, "network_error")))


def test_the_end_of_a_stream_is_an_ending_like_any_other() -> None:
    assert read_answer(sse(delta("半句"), delta("", "length"))).status == "truncated"
    assert not read_answer(sse(delta("句"), delta("", "null"))).ending_known
    assert read_answer(
        sse(delta("x", "stop"), {"output_sensitive": True, "choices": []})
    ).status == ("blocked")


@given(st.text(min_size=1), st.lists(st.integers(0, 40), max_size=5))
def test_however_an_answer_is_cut_up_it_is_whole(text: str, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    starts = [0, *ends]
    pieces = [delta(text[a:b]) for a, b in zip(starts, ends, strict=False)]
    body = read_body(sse(*pieces, delta(None, "stop")))
    assert body["choices"][0]["message"]["content"] == text


@given(st.binary(max_size=60) | st.text(alphabet='data: {"}[]\n:DONE', max_size=40).map(str.encode))
def test_no_body_breaks_the_reader(raw: bytes) -> None:
    for body in (raw, b"data: " + raw, sse(delta("x"), end="") + raw):
        try:
            reply = read_answer(body)
        except RequestError:
            continue
        assert isinstance(reply, Reply)


def test_a_broken_stream_is_no_json_error() -> None:
    with pytest.raises(BrokenStream):
        read_body(b"data: 3\n\n")
