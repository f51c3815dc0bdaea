"""Failures counted by reason."""

from __future__ import annotations

import pytest

from flames.metrics.failures import count_alike, fold


@pytest.mark.parametrize(
    ("words", "folded"),
    [
        ("HTTP 400: too long: 4097 tokens", "HTTP 400: too long: … tokens"),
        ("HTTP 503: busy (req_011CSHoEeqs5C35K2)", "HTTP 503: busy (…)"),
        ("id 1f0c9a52-7d3e-4b1e-9f4e-0a1b2c3d4e5f", "id …"),
        ("接口限流，请 30.5 秒后重试", "接口限流，请 … 秒后重试"),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("\x1b[31mred\x1b[0m\nline", "red line"),
    ],
)
def test_ids_and_numbers_are_folded_but_the_http_status(words: str, folded: str) -> None:
    assert fold(words) == folded


def test_the_same_reasons_are_counted_together() -> None:
    said = ["HTTP 500: id 17", "HTTP 500: id 18", "HTTP 502: id 17", "HTTP 500: id 19"]
    assert count_alike(said) == {"HTTP 500: id …": 3, "HTTP 502: id 17": 1}
