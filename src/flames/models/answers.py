"""Replies and failures from what OpenAI-compatible endpoints answer."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from flames.finish_reasons import status_of
from flames.models.base import (
    EndpointUnusable,
    RateLimited,
    Reply,
    RequestError,
    RequestRejected,
    TransientFailure,
    Usage,
)
from flames.models.providers import PROVIDERS, Refusal
from flames.text import redact, shorten, split_reasoning

_BLOCKED_CODES = {code.casefold() for each in PROVIDERS.values() for code in each.blocked}
_IN_BODY = {code: what for each in PROVIDERS.values() for code, what in each.in_body.items()}


def _words_of(field: str) -> re.Pattern[str]:
    patterns = (getattr(provider, field) for provider in PROVIDERS.values())
    return re.compile("|".join(filter(None, patterns)), re.IGNORECASE)


_BLOCKED_WORDS, _NO_CREDIT, _UNUSABLE = map(_words_of, ("blocked_words", "no_credit", "unusable"))


def read_answer(raw: bytes, secrets: tuple[str, ...] = ()) -> Reply:
    """Reads the reply in the body of a chat or completions answer."""
    try:
        body = json.loads(raw, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        start = redact(shorten(raw[:400].decode("utf-8", "replace"), 80), secrets)
        raise TransientFailure(f"the answer is no JSON: {start!r}") from None
    if not isinstance(body, dict):
        raise TransientFailure(f"the answer is a JSON {type(body).__name__}, not an object")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict) and not choice.get("error"):
        return _reply(choice, body)
    refused = choice if isinstance(choice, dict) else body
    if not any(refused.get(name) for name in ("error", "base_resp", "error_code", "code")):
        raise TransientFailure("the answer holds no choice")
    meaning = classify_refusal(200, refused, secrets=secrets)
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
        text=_valid(answer),
        finish_reason=finish and _valid(finish),
        reasoning=_valid("\n".join(filter(None, pieces))) or None,
        usage=Usage(_storable(usage)) if isinstance(usage, dict) else None,
        note=f"finish_reason {finish}" if status == "blocked" else None,
        raw=body,
    )


def _texts(content: Any) -> tuple[str, str]:
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


def _valid(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _storable(value: Any, depth: int = 3) -> Any:
    """Leaves out what JSON cannot hold, lists, and what is nested too deep."""
    if isinstance(value, dict):
        return {_valid(k): _storable(v, depth - 1) for k, v in value.items()} if depth else {}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _valid(value) if isinstance(value, str) else value if not isinstance(value, list) else []


def classify_refusal(
    status: int, body: Any, *, retry_after: float | None = None, secrets: tuple[str, ...] = ()
) -> Reply | RequestError:
    """Returns what an error answer means: a blocked reply, or the error to raise.

    Args:
        status: The HTTP status, 200 where the error stands in an ordinary answer.
        body: The answer's parsed JSON, or its text.
        secrets: Texts that no message may contain.
    """
    codes, words = _codes_and_words(body)
    text = "; ".join(dict.fromkeys(words))
    named = ", ".join(dict.fromkeys(code for code in codes if code not in text))
    note = redact(shorten(text, 300), secrets) or "no explanation given"
    if named:
        note += f" ({redact(shorten(named, 80), secrets)})"
    meaning = _meaning(status, body, codes, words, f"{text} {named}", retry_after)
    if meaning == "blocked":
        return Reply("blocked", finish_reason="content_filter", note=note)
    message = f"HTTP {status}: {note}" if status != 200 else f"the endpoint says: {note}"
    if meaning in ("slow down", "try again"):
        retryable = RateLimited if meaning == "slow down" else TransientFailure
        return retryable(message, retry_after=retry_after)
    return EndpointUnusable(message) if meaning == "unusable" else RequestRejected(message)


def _meaning(
    status: int, body: Any, codes: list[str], words: list[str], text: str, wait: float | None
) -> Refusal | None:
    blocked = any(code.casefold() in _BLOCKED_CODES for code in codes)
    blocked = blocked or any(map(_BLOCKED_WORDS.search, words))
    if blocked and status < 500 and status not in (401, 402, 404, 407, 429):
        return "blocked"
    inner = body.get("base_resp") if isinstance(body, Mapping) else None
    code = inner.get("status_code") if isinstance(inner, Mapping) else None
    in_body = _IN_BODY.get(code) if isinstance(code, int) else None
    if in_body in ("blocked", "unusable"):
        return in_body
    if status == 402 or (status < 500 and _NO_CREDIT.search(text)):
        return "unusable"
    if status == 429 or in_body == "slow down" or (status in (503, 529) and wait):
        return "slow down"
    lost = 300 <= status < 400 or status in (401, 403, 404, 407)
    if lost or (status < 500 and _UNUSABLE.search(text)):
        return "unusable"
    if in_body or status in (200, 408, 409, 425) or status >= 500:
        return "try again"
    return None


def _codes_and_words(body: Any) -> tuple[list[str], list[str]]:
    if not isinstance(body, Mapping):
        text = body if isinstance(body, str) else ""
        return [], [re.sub(r"<[^>]{0,200}>|\s+", " ", text[:2000]).strip()]
    codes: list[str] = []
    words: list[str] = []
    for part in _parts(body):
        for name in ("code", "type", "status_code", "error_code", "status"):
            value = part.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool):
                codes.append(str(value))
        for name in ("message", "status_msg", "error_msg", "error", "detail", "raw"):
            value = part.get(name)
            if isinstance(value, str) and value.strip():
                words.append(value[:2000].strip())
        reasons = part.get("reasons")
        if isinstance(reasons, list):  # OpenRouter: what a moderated input was flagged for
            words.append("flagged for " + ", ".join(map(str, reasons))[:200])
    return codes, words


def _parts(body: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    yield body
    if depth < 3:
        for name in ("error", "innererror", "inner_error", "base_resp", "metadata", "detail"):
            inner = body.get(name)
            if isinstance(inner, Mapping):
                yield from _parts(inner, depth + 1)


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that `Retry-After` or `retry-after-ms` asks to wait, if any."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError):
                continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    return None


MOST_BYTES = 64 * 2**20


async def bound(response: httpx2.Response) -> None:
    """Makes reading fail at `MOST_BYTES`, before the memory is full; a hook of the HTTP client."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        packed = httpx2.Response(
            response.status_code, headers=response.headers, stream=response.stream
        )
        response.headers.pop("content-encoding", None)
        response.stream = _Bounded(packed)


class _Bounded(httpx2.AsyncByteStream):  # unpacks: a few packed bytes may stand for very many
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
