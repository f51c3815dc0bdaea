"""What a refusal means, by the providers' published codes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.models import base
from flames.models.answers import classify_refusal
from flames.models.base import Reply


def minimax(code: int, message: str) -> dict[str, Any]:
    return {"base_resp": {"status_code": code, "status_msg": message}}


BLOCKED: dict[str, tuple[int, Any]] = {
    "openai": (400, {"error": {"code": "content_policy_violation", "message": "rejected"}}),
    "azure": (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}),
    "azure, inner": (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "dashscope": (
        400,
        {
            "error": {
                "code": "data_inspection_failed",
                "message": "Input data may contain inappropriate content.",
            }
        },
    ),
    "dashscope, own": (
        400,
        {
            "code": "DataInspectionFailed",
            "message": "Output data may contain inappropriate content.",
        },
    ),
    "zhipu": (
        400,
        {
            "contentFilter": [{"level": 1, "role": "user"}],
            "error": {"code": "1301", "message": "输入或生成内容可能包含不安全或敏感内容"},
        },
    ),
    "moonshot": (
        400,
        {
            "error": {
                "type": "content_filter",
                "message": "The request was rejected because it was considered high risk",
            }
        },
    ),
    "deepseek": (
        400,
        {
            "error": {
                "message": "Content Exists Risk",
                "type": "invalid_request_error",
                "code": "invalid_request_error",
            }
        },
    ),
    "minimax": (200, minimax(1026, "input new_sensitive")),
    "ark": (
        400,
        {
            "error": {
                "code": "InputTextSensitiveContentDetected",
                "message": "the input text may contain sensitive information",
            }
        },
    ),
    "ark, risk": (400, {"error": {"code": "OutputTextRiskDetection", "message": "x"}}),
    "openrouter": (
        403,
        {
            "error": {
                "code": 403,
                "message": "x",
                "metadata": {"reasons": ["violence"], "flagged_input": "…"},
            }
        },
    ),
    "gemini": (400, {"error": {"message": "blocked by content filter", "status": "X"}}),
}


@pytest.mark.parametrize("name", BLOCKED)
def test_content_filters_are_known(name: str) -> None:
    status, body = BLOCKED[name]
    reply = classify_refusal(status, body)
    assert isinstance(reply, Reply), reply
    assert (reply.status, reply.text) == ("blocked", None)
    assert reply.note


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            401,
            {"error": {"code": "invalid_api_key", "message": "Incorrect API key"}},
            base.EndpointUnusable,
        ),
        (402, {"error": {"message": "Insufficient Balance"}}, base.EndpointUnusable),
        (403, {"error": {"message": "no access"}}, base.EndpointUnusable),
        (404, {"error": {"code": "model_not_found", "message": "x"}}, base.EndpointUnusable),
        (400, {"error": {"message": "Model Not Exist"}}, base.EndpointUnusable),
        (
            400,
            {"error": {"message": "模型不存在，请检查模型代码", "code": "1211"}},
            base.EndpointUnusable,
        ),
        (
            429,
            {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}},
            base.EndpointUnusable,
        ),
        (429, {"error": {"code": "1113", "message": "您的账户已欠费"}}, base.EndpointUnusable),
        (
            429,
            {
                "error": {
                    "code": "rate_limit_exceeded",
                    "message": "add a payment method to your billing",
                }
            },
            base.RateLimited,
        ),
        (429, "slow down", base.RateLimited),
        (200, minimax(1002, "rate limit"), base.RateLimited),
        (
            200,
            {"base_resp": {"status_code": 1004, "status_msg": "login fail"}},
            base.EndpointUnusable,
        ),
        (
            200,
            {"base_resp": {"status_code": 1013, "status_msg": "internal"}},
            base.TransientFailure,
        ),
        (500, "<html>x</html>", base.TransientFailure),
        (502, b"", base.TransientFailure),
        (408, {}, base.TransientFailure),
        (500, {"error": {"message": "content filter crashed"}}, base.TransientFailure),
        (400, {"error": {"message": "maximum context length exceeded"}}, base.RequestRejected),
        (413, "too large", base.RequestRejected),
        (422, {"detail": [{"msg": "x"}]}, base.RequestRejected),
    ],
)
def test_other_refusals_say_whether_trying_again_makes_sense(
    status: int, body: Any, kind: type[base.RequestError]
) -> None:
    meaning = classify_refusal(status, body)
    assert type(meaning) is kind, meaning
    assert "\n" not in str(meaning)


def test_an_overloaded_server_that_names_a_wait_is_a_rate_limit() -> None:
    meaning = classify_refusal(
        503, {"error": {"message": "overloaded"}}, headers={"retry-after": "2"}
    )
    assert isinstance(meaning, base.RateLimited)
    assert meaning.retry_after == 2.0


def test_secrets_stand_in_no_message() -> None:
    body = {"error": {"message": "bad key sk-verysecret", "code": "sk-verysecret"}}
    for status in (400, 401, 429, 500):
        assert "verysecret" not in str(classify_refusal(status, body, secrets=("sk-verysecret",)))


@given(
    st.integers(200, 599),
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["error", "code", "message", "base_resp", "metadata", "detail"]),
                inner,
            )
        ),
    ),
)
def test_every_refusal_means_something(status: int, body: Any) -> None:
    assert isinstance(classify_refusal(status, body), Reply | base.RequestError)
