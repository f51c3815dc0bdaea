"""What an endpoint's refusal means: a content filter, a wait, a lost cause.

Providers tell these apart by codes of their own; the tables follow their published error pages.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from flames.models.base import (
    EndpointUnusable,
    RateLimited,
    Reply,
    RequestError,
    RequestRejected,
    TransientFailure,
)
from flames.text import shorten

_BLOCKED_CODES = frozenset(
    code.casefold()
    for code in (
        *("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"),
        *("moderation_blocked", "content_filter_error"),  # OpenAI, Azure, Moonshot
        *("data_inspection_failed", "DataInspectionFailed"),  # DashScope
        "1301",  # Zhipu
        *("sensitive_content", "content_risk", "unsafe_content"),
        *("InputTextRiskDetection", "OutputTextRiskDetection", "SensitiveContentDetected"),  # Ark
        *("InputTextSensitiveContentDetected", "OutputTextSensitiveContentDetected"),
        "censorship_blocked",  # StepFun
    )
)
_BLOCKED_WORDS = re.compile(
    r"content exists risk"  # DeepSeek
    r"|(?:input|output)\W+(?:text )?data may contain inappropriate"  # DashScope
    r"|content management policy|safety system|content polic(?:y|ies)|usage guidelines"
    r"|considered high risk|risk detection|(?:input|output) new_sensitive"
    r"|requires moderation|flagged (?:by|for|as)|sensitive content|content filter"
    r"|敏感内容|敏感信息|内容安全|违规内容|不合规|安全审核|内容审核",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient[_ ]?(?:quota|balance|credit|user[_ ]?quota)|exceeded_current_quota|arrearage"
    r"|exceeded your current quota|credit balance|account.{0,20}overdue|AccountOverdue"
    r"|余额不足|欠费|额度已",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"model[_ ]?not[_ ]?(?:found|exist)|model does ?not exist|model.{0,60}does not exist"
    r"|unknown model|invalid[_ ]?model|no such model|invalid[_ ]?(?:api[_ -]?)?key"
    r"|incorrect api key|invalid_authentication|模型不存在",
    re.IGNORECASE,
)
# MiniMax answers 200 with a code of its own
_MINIMAX_BLOCKED = frozenset({1026, 1027})
_MINIMAX_WAIT = frozenset({1002, 1039, 1041})
_MINIMAX_LOST = frozenset({1004, 1008, 2049, 2056})
_MINIMAX_AGAIN = frozenset({1000, 1001, 1013, 1024, 1033})


def classify_refusal(
    status: int, body: Any, *, retry_after: float | None = None, secrets: tuple[str, ...] = ()
) -> Reply | RequestError:
    """What an error answer means.

    Args:
        status: The HTTP status, 200 where the error stands in an ordinary answer.
        body: The answer's parsed JSON, or its text.
        retry_after: Seconds that the endpoint asks to wait.
        secrets: Texts that must not stand in any message.

    Returns:
        A blocked reply, or the error to raise.
    """
    codes, words = _said(body)
    said = "; ".join(dict.fromkeys(words))
    named = ", ".join(dict.fromkeys(code for code in codes if code not in said))
    message = redact(shorten(said, 300), secrets) or "no explanation given"
    if named:
        message += f" ({redact(shorten(named, 80), secrets)})"
    said = f"{said} {named}"
    if status < 500 and status not in (401, 402, 404, 407, 429) and _is_block(codes, words):
        return Reply("blocked", finish_reason="content_filter", note=message)
    own = body.get("base_resp") if isinstance(body, Mapping) else None
    number = own.get("status_code") if isinstance(own, Mapping) else None
    if number in _MINIMAX_BLOCKED:
        return Reply("blocked", finish_reason="content_filter", note=message)
    told = f"HTTP {status}: {message}" if status != 200 else f"the endpoint says: {message}"
    if status == 402 or number in _MINIMAX_LOST or (status < 500 and _QUOTA.search(said)):
        return EndpointUnusable(told)
    if status == 429 or number in _MINIMAX_WAIT or (status in (503, 529) and retry_after):
        return RateLimited(told, retry_after=retry_after)
    if (
        300 <= status < 400
        or status in (401, 403, 404, 407)
        or (status < 500 and _LOST.search(said))
    ):
        return EndpointUnusable(told)
    if status in (200, 408, 409, 425) or status >= 500 or number in _MINIMAX_AGAIN:
        return TransientFailure(told, retry_after=retry_after)
    return RequestRejected(told)


def _is_block(codes: list[str], words: list[str]) -> bool:
    return any(code.casefold() in _BLOCKED_CODES for code in codes) or any(
        _BLOCKED_WORDS.search(word) for word in words
    )


def _said(body: Any) -> tuple[list[str], list[str]]:
    """The codes and the words of an error answer, wherever its provider puts them."""
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


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """The text without any of the secrets."""
    for secret in secrets:
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    return text


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` (or `retry-after-ms`) asks to wait, if it says so readably."""
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
        if seconds == seconds:  # a NaN says nothing
            return max(0.0, seconds)
    return None
