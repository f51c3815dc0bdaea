"""How long an endpoint asks to wait, from the headers and the body of a refusal."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_DAY = 86400.0
_SECONDS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds", "毫秒"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒", "秒钟"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分", "分钟"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时", "个小时"), 3600.0),
    **dict.fromkeys(("d", "day", "days", "天"), _DAY),
}
_DIGITS = {"半": 0.5, "两": 2.0, **{d: float(n) for n, d in enumerate("一二三四五六七八九十", 1)}}
_UNIT = "|".join(sorted(_SECONDS, key=len, reverse=True))
_PART = rf"(\d{{1,9}}(?:\.\d{{1,9}})?|[{''.join(_DIGITS)}])\s*({_UNIT})(?![a-z])"
_SPAN = rf"({_PART}(?:[\s,]*(?:and\s)?\s*{_PART})*)"
_PARTS = re.compile(_PART, re.IGNORECASE)
_DURATION = re.compile(rf"\s*{_SPAN}\s*", re.IGNORECASE)
_ASKED = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:try|retry|retrying|again|wait|waiting|resets?|available)\b[^.;。；\d\n]{{0,40}}?{_SPAN}",
        rf"{_SPAN}\s*(?:之后|以后|后)[^。；;\n]{{0,12}}(?:试|请求|调用|访问|恢复|重置)",
        rf"(?:等待|稍等|等候|需等)[^。；;\d\n]{{0,6}}?{_SPAN}",
        r"\bretry[-_ ]after[\"'\s:=]{1,4}(\d{1,9}(?:\.\d{1,9})?)",
    )
]
_AFTER = {
    "retry-after-ms": 0.001,
    "x-ms-retry-after-ms": 0.001,
    "retry-after": 1.0,
    "x-ratelimit-retry-after": 1.0,
}
_FIELD = re.compile(r"retry_?(?:after|delay|in)(?:_?(ms|milliseconds|s|sec|seconds))?", re.I)
_RESET = re.compile(r"rate-?limit.*reset", re.IGNORECASE)
_STANDARD = re.compile(r"(?:^|[;,\s])(r|remaining|t|reset)\s*=\s*(\d{1,12})", re.IGNORECASE)
_MOST_NODES, _MOST_TEXT = 200, 2000


def requested_wait(headers: Mapping[str, str], body: Any = None) -> float | None:
    """Returns the seconds that a refusal asks to wait, if it names any.

    `Retry-After` in any form comes first, then the words of the body, then the headers that say
    when a limit is reset. Moments are compared with the server's own `Date`.

    Args:
        headers: The answer's headers, by names in small letters.
        body: Its parsed JSON, or its text.
    """
    now = _moment(headers.get("date", "")) or time.time()
    for name, unit in _AFTER.items():
        if (wait := _span(headers.get(name), now, unit)) is not None:
            return wait
    waits = (_wait_in(name, value, now) for name, value in _nodes(body))
    return next((wait for wait in waits if wait is not None), _reset(headers, now))


def _wait_in(name: str, value: Any, now: float) -> float | None:
    """Reads one value of a body: a field for the wait, headers that are quoted, or a sentence."""
    if field := _FIELD.fullmatch(name):
        if isinstance(value, Mapping):  # {"seconds": 44, "nanos": 0}
            value = value.get("seconds")
        unit = _SECONDS.get((field[1] or "s").lower(), 1.0)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return _span(str(value), now, unit)
    if name == "headers" and isinstance(value, Mapping):  # a gateway quotes those of the provider
        return _reset({str(key).lower(): str(each) for key, each in value.items()}, now)
    if isinstance(value, str):
        text = value[:_MOST_TEXT]
        found = next(filter(None, (pattern.search(text) for pattern in _ASKED)), None)
        return _span(found[1], now, 1.0) if found else None
    return None


def _nodes(body: Any) -> Iterator[tuple[str, Any]]:
    """Yields names and values of a body, from the outside to the inside."""
    waiting, seen = [("", body)], 0
    while waiting and seen < _MOST_NODES:
        name, value = waiting.pop(0)
        seen += 1
        yield name, value
        if isinstance(value, Mapping) and name != "headers":
            waiting += [(str(key), each) for key, each in list(value.items())[:_MOST_NODES]]
        elif isinstance(value, list):
            waiting += [("", each) for each in value[:_MOST_NODES]]


def _span(value: str | None, now: float, unit: float) -> float | None:
    """Reads a number of units, a duration such as `6m0s`, or a moment."""
    if value is None:
        return None
    if found := _DURATION.fullmatch(value):
        return sum(_number(n) * _SECONDS[name.lower()] for n, name in _PARTS.findall(found[1]))
    try:
        seconds = float(value) * unit
    except ValueError:
        moment = _moment(value)
        return None if moment is None else max(0.0, moment - now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _number(text: str) -> float:
    return _DIGITS[text] if text in _DIGITS else float(text)


def _moment(value: str) -> float | None:
    """Reads an HTTP date, or a date and time in ISO 8601, as seconds since 1970."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(value.strip())
        except (ValueError, TypeError, OverflowError):
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """Returns when the limits that are used up are reset; those with something left do not count.

    Where no header says what is left, all of them count, and the longest wait is the answer.
    """
    waits: list[float] = []
    for name, value in headers.items():
        reset: str | None = value
        if name.lower() == "ratelimit":  # `limit=9, remaining=0, reset=5`, or `"default";r=0;t=5`
            given = {key.lower(): number for key, number in _STANDARD.findall(value)}
            reset = given.get("reset") or given.get("t")
            left = given.get("remaining") or given.get("r")
        elif _RESET.search(name):
            left = headers.get(name.lower().replace("reset", "remaining"))
        else:
            continue
        wait = _until(reset, now)
        if wait is not None and not _some(left):
            waits.append(wait)
    return max(waits, default=None)


def _until(value: str | None, now: float) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return _span(value, now, 1.0)
    if number >= 1e12:
        return max(0.0, number / 1000.0 - now)
    if number >= 1e9:
        return max(0.0, number - now)
    return number if 0 <= number <= _DAY else None  # more is in a unit that nobody knows


def _some(left: str | None) -> bool:
    try:
        return float(left or "0") > 0
    except ValueError:
        return False
