"""Replies and failures from what OpenAI-compatible endpoints answer."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx2

from flames.finish_reasons import ending_of, finish_word, status_of
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
from flames.models.streams import BrokenStream, read_body
from flames.models.waiting import requested_wait
from flames.text import redact, shorten
from flames.thinking import Tags, split_parts, split_thinking

_BLOCKED_CODES = {code.casefold() for each in PROVIDERS.values() for code in each.blocked}
_IN_BODY = {code: what for each in PROVIDERS.values() for code, what in each.in_body.items()}


def _words_of(field: str) -> re.Pattern[str]:
    patterns = (getattr(provider, field) for provider in PROVIDERS.values())
    return re.compile("|".join(filter(None, patterns)), re.IGNORECASE)


_BLOCKED_WORDS, _NO_CREDIT, _UNUSABLE = map(_words_of, ("blocked_words", "no_credit", "unusable"))
_FILTER_FAILED = re.compile(
    r"crash|unavailable|timed? ?out|overload|internal error|超时|不可用|繁忙|服务异常",
    re.IGNORECASE,
)


def read_answer(
    raw: bytes, secrets: tuple[str, ...] = (), think_tags: Sequence[Tags] = ()
) -> Reply:
    """Reads the reply in the body of a chat or completions answer, which may be a stream."""
    try:
        body = read_body(raw)
    except BrokenStream as error:
        raise TransientFailure(str(error)) from None
    except (ValueError, RecursionError):
        start = redact(shorten(raw[:400].decode("utf-8", "replace"), 80), secrets)
        raise TransientFailure(f"the answer is no JSON: {start!r}") from None
    if not isinstance(body, dict):
        raise TransientFailure(f"the answer is a JSON {type(body).__name__}, not an object")
    return reply_in(body, secrets, think_tags)


def reply_in(
    body: dict[str, Any], secrets: tuple[str, ...] = (), think_tags: Sequence[Tags] = ()
) -> Reply:
    """Reads the reply in the parsed body of a chat or completions answer."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else None
    for refused in (choice, body):
        if refused is not None and _names_an_error(refused, bare=choice is None):
            meaning = classify_refusal(_inner_status(refused), refused, secrets=secrets)
            if isinstance(meaning, Reply):
                said = _spoken(choice, body, think_tags)[0] if choice else {}
                return replace(meaning, **said)
            raise meaning
    if choice is not None:
        return _reply(choice, body, think_tags)
    if filtered := filter_note(body):
        return Reply("blocked", finish_reason="content_filter", note=filtered, raw=body)
    raise TransientFailure("the answer holds no choice")


def _names_an_error(part: Mapping[str, Any], *, bare: bool) -> bool:
    """Tells whether an answer, or its choice, names an error; a code alone counts where `bare`."""
    error, inner = part.get("error"), part.get("base_resp")
    if isinstance(inner, Mapping) and inner.get("status_code") not in (None, 0):
        return True
    if isinstance(error, Mapping):
        return any(value not in (None, "", 0, "0") for value in error.values())
    codes = [part.get(name) for name in ("error_code", "code")] if bare else []
    return bool(error) or any(code not in (None, "", 0, "0", 200, "200") for code in codes)


def _inner_status(part: Mapping[str, Any]) -> int:
    """Returns the HTTP status that an error inside an ordinary answer names; 200 without one."""
    error = part.get("error")
    code = error.get("code") if isinstance(error, Mapping) else part.get("code")
    named = (
        int(code) if isinstance(code, int | str) and re.fullmatch("[45]\\d\\d", str(code)) else 0
    )
    return named or 200


def _spoken(
    choice: dict[str, Any], body: dict[str, Any], think_tags: Sequence[Tags]
) -> tuple[dict[str, Any], bool]:
    """Returns what a choice says, for a reply, and whether its text ends inside reasoning."""
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    content, thoughts = split_parts(message.get("content"))
    answer, inline, unclosed = split_thinking(content, think_tags)
    if not answer and isinstance(message.get("refusal"), str):
        answer = message["refusal"]
    given = message.get("reasoning_content") or message.get("reasoning")
    pieces = (given if isinstance(given, str) else "", thoughts, inline)
    counts = body.get("usage")
    usage = Usage(_storable(counts)) if isinstance(counts, dict) else None
    if usage is not None and usage.reasoning_tokens is not None:
        usage.setdefault("reasoning_tokens", usage.reasoning_tokens)
    spoken = {
        "text": _valid(answer),
        "reasoning": _valid("\n".join(filter(None, pieces))) or None,
        "usage": usage,
        "raw": body,
    }
    return spoken, unclosed


def _reply(choice: dict[str, Any], body: dict[str, Any], think_tags: Sequence[Tags]) -> Reply:
    spoken, unclosed = _spoken(choice, body, think_tags)
    text, usage = spoken["text"], spoken["usage"] or Usage()
    finish = finish_word(choice.get("finish_reason"))
    native = finish_word(choice.get("native_finish_reason"))
    ending = ending_of(finish, native)
    named = next((word for word in (finish, native) if word and ending_of(word) == ending), finish)
    if ending == "interrupted":
        said = choice.get("finish_reason")
        why = said.get("message") if isinstance(said, dict) else None
        more = f": {shorten(why, 200)}" if isinstance(why, str) else ""
        raise TransientFailure(
            f"the provider broke off, finish_reason {shorten(named or '')}{more}"
        )
    # Hidden reasoning is counted by its name, as a part of the answer, or in the total only.
    hidden = not text and usage.tokens_beside_request > 0
    thought = bool(spoken["reasoning"] or usage.reasoning_tokens or hidden)
    status, note = status_of(named, text, thought=thought, unclosed=unclosed), None
    if status == "blocked":
        note = f"finish_reason {shorten(named or '')}"
    if filtered := filter_note(body, choice):
        status, note = "blocked", filtered
    return Reply(
        status,
        finish_reason=named and _valid(named),
        note=note,
        ending_known=ending is not None,
        **spoken,
    )


def filter_note(*parts: Mapping[str, Any]) -> str | None:
    """Returns what the marks of a content filter say in parts of an answer; None without any.

    MiniMax marks input or output, Azure each kind of content, Gemini names a reason.
    """
    for part in parts:
        for name in ("input_sensitive", "output_sensitive"):
            if part.get(name) is True:
                return f"{name} is true"
        for name in ("promptFeedback", "prompt_feedback"):
            feedback = part.get(name)
            reason = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
            if isinstance(reason, str) and reason:
                return f"blockReason {shorten(reason)}"
        kinds = dict(_filters(part))
        named = ", ".join(name for name, filtered in kinds.items() if filtered)
        if named:
            return f"filtered for {shorten(named)}"
        if not kinds and part.get("prompt_filter_results") and not part.get("choices"):
            return "prompt_filter_results without a choice"
    return None


def _filters(part: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    given = part.get("prompt_filter_results")
    for results in (part, *(given if isinstance(given, list) else ())):
        found = results.get("content_filter_results") if isinstance(results, Mapping) else None
        for name, each in found.items() if isinstance(found, Mapping) else ():
            if isinstance(each, Mapping) and isinstance(each.get("filtered"), bool):
                yield name, each["filtered"]


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
    status: int,
    body: Any,
    *,
    headers: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> Reply | RequestError:
    """Returns what an error answer means: a blocked reply, or the error to raise.

    Args:
        status: The HTTP status, 200 where the error stands in an ordinary answer.
        body: The answer's parsed JSON, or its text.
        headers: The answer's headers, which may say how long to wait.
        secrets: Texts that no message may contain.
    """
    retry_after = requested_wait(headers or {}, body)
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
    if meaning == "unusable":
        return EndpointUnusable(message)
    parts = _parts(body) if isinstance(body, Mapping) else ()
    blamed = " ".join(str(part["param"]) for part in parts if "param" in part)
    return RequestRejected(message, said=f"{text} {named} {blamed}")


def _meaning(
    status: int, body: Any, codes: list[str], words: list[str], text: str, wait: float | None
) -> Refusal | None:
    if _is_filter(status, codes, words):
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


def _is_filter(status: int, codes: list[str], words: list[str]) -> bool:
    """Tells a content filter by its codes, at any HTTP status, or by its words.

    Words about the account stand beside some statuses, and a filter may itself have failed.
    """
    parts = {part.casefold() for code in codes for part in (code, *code.split("."))}
    if parts & _BLOCKED_CODES:
        return True
    if status in (401, 402, 404, 407, 429):
        return False
    said = [text for text in (*codes, *words) if _BLOCKED_WORDS.search(text)]
    return any(status < 500 or not _FILTER_FAILED.search(text) for text in said)


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
        if isinstance(part.get("loc"), list):  # which field, where servers check with pydantic
            words.append(".".join(map(str, part["loc"]))[:200])
        for name in ("message", "status_msg", "error_msg", "error", "detail", "raw", "msg"):
            value = part.get(name)
            if isinstance(value, str) and value.strip():
                words.append(value[:2000].strip())
        if part.get("action") == "GUARDRAIL_INTERVENED":  # Bedrock, also behind gateways
            codes.append("guardrail_intervened")
        reasons = part.get("reasons")
        if isinstance(reasons, list):  # OpenRouter: what a moderated input was flagged for
            words.append("flagged for " + ", ".join(map(str, reasons))[:200])
    return codes, words


_INSIDE = (
    *("error", "innererror", "inner_error", "base_resp", "metadata", "detail", "message"),
    "bedrock_guardrail_response",
)


def _parts(body: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    yield body
    if depth < 4:
        for name in _INSIDE:
            inner = body.get(name)
            for each in inner[:5] if isinstance(inner, list) else (inner,):
                if isinstance(each, Mapping):
                    yield from _parts(each, depth + 1)


MOST_BYTES = 64 * 2**20
_FILE = "/content"  # the end of the address of a file, which is written to the disk as it comes


async def bound(response: httpx2.Response) -> None:
    """Makes reading fail at `MOST_BYTES`, before the memory is full; a hook of the HTTP client."""
    if response.request.url.path.endswith(_FILE):
        return
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
