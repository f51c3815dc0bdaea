"""How long refusals ask to wait, in the shapes that providers and gateways use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.models.answers import classify_refusal
from flames.models.base import RateLimited
from flames.models.waiting import requested_wait

DATE = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}
AT = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())

HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after": "20s"}, 20.0),
    ({"retry-after": "-3"}, 0.0),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
    ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", **DATE}, 30.0),
    ({"retry-after": "Wed, 31 Dec 2025 23:59:30 GMT", **DATE}, 0.0),
    ({"x-ratelimit-reset-requests": "1s"}, 1.0),
    ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
    (
        {
            "x-ratelimit-reset-requests": "8.64s",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-tokens": "6m0s",
            "x-ratelimit-remaining-tokens": "149984",
        },
        8.64,
    ),
    ({"x-ratelimit-reset-requests": "9s", "x-ratelimit-remaining-requests": "3"}, None),
    ({"x-ratelimit-reset": "24"}, 24.0),
    ({"x-rate-limit-reset": "24"}, 24.0),
    ({"x-rate-limit-reset": "600000"}, None),
    ({"x-ratelimit-reset": str(AT + 45), **DATE}, 45.0),
    ({"x-ratelimit-reset": str((AT + 45) * 1000), **DATE}, 45.0),
    ({"anthropic-ratelimit-requests-reset": "2026-01-01T00:00:12Z", **DATE}, 12.0),
    ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50.0),
    ({"ratelimit": '"default";r=0;t=51'}, 51.0),
    ({"ratelimit": '"default";r=5;t=51'}, None),
    ({"ratelimit-reset": "52"}, 52.0),
]
BODIES: list[tuple[Any, float | None]] = [
    ("Limit: 3 / min. Please try again in 20s. Contact support.", 20.0),
    ("Limit 200000, Used 199000. Please try again in 1m30.5s.", 90.5),
    ("Please try again in 250ms.", 0.25),
    ("please try again after 1 seconds", 1.0),
    ("Please retry after 6 seconds. To increase the limit, go to …", 6.0),
    ("You can wait 2 hours, 3 minutes and 4 seconds", 7384.0),
    ("Too many requests (retry-after: 12)", 12.0),
    ("The quota resets in 30 minutes", 1800.0),
    ("Try again later. 10 requests per 60 seconds are allowed", None),
    ("Rate limit: 20 requests per 1 minute", None),
    ("请求过于频繁，请30秒后重试", 30.0),
    ("请在 5 秒后再试", 5.0),
    ("请 1 分钟后再次请求", 60.0),
    ("触发限流，请一分钟之后重试", 60.0),
    ("请等待10秒", 10.0),
    ("500毫秒后重试", 0.5),
    ("请稍后再试", None),
    ("每分钟限制 20 次", None),
    ({"retry_after": 1.5}, 1.5),
    ({"error": {"retry_after_ms": 1500}}, 1.5),
    ({"error": {"details": [{"reason": "x"}, {"retryDelay": "44s"}]}}, 44.0),
    ({"error": {"details": [{"retryDelay": {"seconds": 44}}]}}, 44.0),
    ({"error": {"metadata": {"headers": {"X-RateLimit-Reset": "33"}}}}, 33.0),
    ({"error": {"message": "slow down", "code": 429}}, None),
    (None, None),
    ([], None),
]


@pytest.mark.parametrize(("headers", "wait"), HEADERS)
def test_headers_say_how_long(headers: dict[str, str], wait: float | None) -> None:
    assert requested_wait(headers) == pytest.approx(wait)


@pytest.mark.parametrize(("body", "wait"), BODIES)
def test_bodies_say_how_long(body: Any, wait: float | None) -> None:
    assert requested_wait({}, body) == pytest.approx(wait)
    meaning = classify_refusal(429, body)
    assert isinstance(meaning, RateLimited)
    assert meaning.retry_after == pytest.approx(wait)


def test_retry_after_counts_before_the_words_and_the_words_before_a_reset() -> None:
    reset = {"x-ratelimit-reset-tokens": "6m0s"}
    assert requested_wait({"retry-after": "7", **reset}, "try again in 9 s") == 7.0
    assert requested_wait(reset, "try again in 9 s") == 9.0


def test_without_a_date_of_the_server_ours_counts() -> None:
    at = datetime.now(UTC) + timedelta(seconds=60)
    wait = requested_wait({"retry-after": format_datetime(at, usegmt=True)})
    assert wait is not None
    assert 50 < wait <= 60


@given(
    st.dictionaries(
        st.sampled_from(
            ["date", "retry-after", "retry-after-ms", "ratelimit", "x-ratelimit-reset"]
        ),
        st.text() | st.floats().map(str) | st.integers().map(str),
    ),
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["message", "retry_after", "headers"]), inner)
        ),
    ),
)
def test_anything_may_be_asked_and_waits_are_never_negative(
    headers: dict[str, str], body: Any
) -> None:
    wait = requested_wait(headers, body)
    assert wait is None or wait >= 0
