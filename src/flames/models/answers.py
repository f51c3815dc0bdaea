"""Replies from the JSON that OpenAI-compatible endpoints answer.

An end to answers that have none, before they fill the memory.

`httpx2` is what the `openai` client speaks through.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from flames.finish_reasons import status_of
from flames.models.base import Reply, TransientFailure, Usage
from flames.models.failures import classify_refusal, redact
from flames.text import shorten, split_reasoning


def read_answer(raw: bytes, secrets: tuple[str, ...] = ()) -> Reply:
    """The reply in the body of a chat or completions answer.

    Raises:
        RequestError: There is none in it.
    """
    try:
        body = json.loads(raw, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        start = redact(shorten(raw[:400].decode("utf-8", "replace"), 80), secrets)
        raise TransientFailure(f"the answer is no JSON: {start!r}") from None
    if not isinstance(body, dict):
        raise TransientFailure(f"the answer is a JSON {type(body).__name__}, not an object")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        if any(body.get(name) for name in ("error", "base_resp", "error_code", "code")):
            return _refused(body, secrets)
        raise TransientFailure("the answer holds no choice")
    if choice.get("error"):
        return _refused(choice, secrets)
    return _reply(choice, body)


def _refused(body: Mapping[str, Any], secrets: tuple[str, ...]) -> Reply:
    meaning = classify_refusal(200, body, secrets=secrets)
    if isinstance(meaning, Reply):
        return meaning
    raise meaning


def _reply(choice: dict[str, Any], body: dict[str, Any]) -> Reply:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    content, thoughts = _texts(message.get("content"))
    answer, inline = split_reasoning(content)
    if not answer and isinstance(message.get("refusal"), str):
        answer = message["refusal"]
    given = message.get("reasoning_content") or message.get("reasoning")
    pieces = (given if isinstance(given, str) else "", thoughts, inline)
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    usage = body.get("usage")
    status = status_of(finish, answer)
    return Reply(
        status,
        text=_whole(answer),
        finish_reason=finish and _whole(finish),
        reasoning=_whole("\n".join(filter(None, pieces))) or None,
        usage=Usage(_finite(usage)) if isinstance(usage, dict) else None,
        note=f"finish_reason {finish}" if status == "blocked" else None,
        raw=body,
    )


def _texts(content: Any) -> tuple[str, str]:
    """Answer and thoughts of a message's content, which may come as a list of parts."""
    if isinstance(content, str):
        return content, ""
    answer: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            answer.append(part)
        elif isinstance(part, dict):
            kind = part.get("type")
            if isinstance(part.get("text"), str) and kind in ("text", "output_text", None):
                answer.append(part["text"])
            elif kind in ("thinking", "reasoning"):
                inner = part.get("thinking") or part.get("text")
                thoughts.append(inner if isinstance(inner, str) else _texts(inner)[0])
    return "".join(answer), "\n".join(thoughts)


def _whole(text: str) -> str:
    """The text with halves of characters (an emoji cut in two) replaced, as decoders do."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finite(value: Any, depth: int = 3) -> Any:
    """The value as far as JSON can hold it again."""
    if isinstance(value, dict):
        return {_whole(k): _finite(v, depth - 1) for k, v in value.items()} if depth else {}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _whole(value) if isinstance(value, str) else value if not isinstance(value, list) else []


MOST_BYTES = 64 * 2**20


async def bound(response: httpx2.Response) -> None:
    """Makes reading a response fail where it is longer than any answer; a hook of the client."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        packed = httpx2.Response(
            response.status_code, headers=response.headers, stream=response.stream
        )
        response.headers.pop("content-encoding", None)
        response.stream = _Bounded(packed)


class _Bounded(httpx2.AsyncByteStream):
    """What a response holds once it is unpacked: a few packed bytes may stand for very many."""

    def __init__(self, packed: httpx2.Response) -> None:
        self._packed = packed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._packed.aiter_bytes():
            left -= len(part)
            if left < 0:
                raise ValueError(f"the answer has more than {MOST_BYTES / 2**20:g} MB")
            yield part

    async def aclose(self) -> None:
        await self._packed.aclose()
