"""The client against a real server on this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from flames.models import answers as _bounded
from flames.models import base
from flames.models.base import Message, Reply, Sampling, Usage
from flames.models.load import CallableModel, ModelOptions, load_model
from flames.models.openai_client import OpenAIModel


def ask(model: Any, text: str, sampling: Sampling | None = None) -> Reply:
    async def once() -> Reply:
        try:
            reply: Reply = await model.ask([Message("user", text)], sampling or Sampling())
            return reply
        finally:
            await model.aclose()

    return asyncio.run(once())


def test_a_request_says_what_was_asked_for(chat_server: Callable[..., Any]) -> None:
    server = chat_server()
    model = load_model("some/model", ModelOptions(base_url=server.url))
    reply = ask(model, "你好", Sampling(0.5, 7, 3, {"top_p": 0.9}))
    assert reply.status == "ok"
    assert reply.usage is not None
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (20, 30)
    [asked] = server.told()["log"]
    assert asked["body"] == {
        "model": "some/model",
        "stream": False,
        "messages": [{"role": "user", "content": "你好"}],
        "temperature": 0.5,
        "max_tokens": 7,
        "seed": 3,
        "top_p": 0.9,
    }


def test_a_base_model_is_asked_in_a_frame(chat_server: Callable[..., Any]) -> None:
    server = chat_server()
    model = load_model("m", ModelOptions(base_url=server.url, frame="qa"))
    assert ask(model, "天{0}为什么是蓝的？").status == "ok"
    body = server.told()["log"][0]["body"]
    assert body["prompt"].endswith("问：天{0}为什么是蓝的？\n答：")
    assert "messages" not in body


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ("429", base.RateLimited),
        ("quota", base.EndpointUnusable),
        ("500", base.TransientFailure),
        ("503", base.TransientFailure),
        ("401", base.EndpointUnusable),
        ("404", base.EndpointUnusable),
        ("400", base.RequestRejected),
        ("json", base.TransientFailure),
        ("nochoice", base.TransientFailure),
        ("half", base.TransientFailure),
        ("drop", base.TransientFailure),
        ("hang", base.TransientFailure),
    ],
)
def test_failures_are_told_apart(
    mark: str, kind: type[Exception], chat_server: Callable[..., Any]
) -> None:
    model = OpenAIModel(
        "m", chat_server().url, api_key="sk-secret-key", timeout=0.3 if mark == "hang" else 30
    )
    with pytest.raises(kind) as error:
        ask(model, f"[{mark}]")
    assert type(error.value) is kind
    assert "sk-secret-key" not in str(error.value)
    assert "\n" not in str(error.value)


def test_retry_after_is_handed_on(chat_server: Callable[..., Any]) -> None:
    with pytest.raises(base.RateLimited) as error:
        ask(OpenAIModel("m", chat_server().url), "[429after]")
    assert error.value.retry_after == 1.0


def test_a_filter_is_a_reply_not_a_failure(chat_server: Callable[..., Any]) -> None:
    for mark in ("filter", "filtered"):
        assert ask(OpenAIModel("m", chat_server().url), f"[{mark}]").status == "blocked"


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(base.Unreachable, match=str(port)):
        ask(OpenAIModel("m", f"http://127.0.0.1:{port}/v1"), "x")


@pytest.mark.parametrize("fault", ["endless", "bomb"])
def test_an_answer_without_end_is_a_failure(
    fault: str, chat_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bounded, "MOST_BYTES", 3 * 2**20)
    with pytest.raises(base.TransientFailure, match="more than 3 MB"):
        ask(OpenAIModel("m", chat_server().url), f"[{fault}]")


def test_a_packed_answer_is_read(chat_server: Callable[..., Any]) -> None:
    model = OpenAIModel("m", chat_server().url)
    assert ask(model, "[packed]").text == ask(model, "问").text


def test_numbers_that_are_no_counts_cost_nothing() -> None:
    usage = Usage(prompt_tokens=10**400, completion_tokens=7)
    assert (usage.tokens_in, usage.tokens_out) == (None, 7)


@pytest.mark.parametrize(
    ("variable", "value", "kind", "said"),
    [
        (
            "http_proxy",
            "http://127.0.0.1:9",
            base.Unreachable,
            r"connect to x\.invalid \(or the environ",
        ),
        ("http_proxy", "odd://u:sk-secret-key@h", base.EndpointUnusable, "proxy or certificates"),
        ("SSL_CERT_FILE", "/none", base.EndpointUnusable, "proxy or certificates"),
    ],
)
def test_the_environment_is_told_of_when_it_is_at_fault(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, kind: type[Exception], said: str
) -> None:
    monkeypatch.setenv(variable, value)
    scheme = "https" if variable == "SSL_CERT_FILE" else "http"
    with pytest.raises(kind, match=said) as error:
        ask(OpenAIModel("m", f"{scheme}://x.invalid/v1"), "x")
    assert "sk-secret-key" not in str(error.value)


def test_half_a_character_cannot_be_asked(chat_server: Callable[..., Any]) -> None:
    with pytest.raises(base.RequestRejected):
        ask(OpenAIModel("m", chat_server().url), "\ud800")


def test_the_same_model_works_in_one_loop_after_another(chat_server: Callable[..., Any]) -> None:
    model = OpenAIModel("m", chat_server().url)
    assert ask(model, "一").status == ask(model, "二").status == "ok"


def test_functions_are_models() -> None:
    async def slow(prompt: str) -> str:
        await asyncio.sleep(0)
        return f"<think>{prompt}</think>好"

    assert ask(CallableModel(slow), "你") == Reply("ok", text="好", reasoning="你")
    assert ask(CallableModel(str.strip), " ").status == "empty"
    assert ask(CallableModel(lambda _: Reply("blocked")), "x").status == "blocked"
    messages = CallableModel(lambda given: given[0].role, messages=True)
    assert ask(messages, "x").text == "user"
    for wrong in (lambda _: 3, lambda _: 1 / 0):
        with pytest.raises(base.RequestRejected):
            ask(CallableModel(wrong), "x")
