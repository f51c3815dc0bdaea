"""Tries a model: whether it answers, how fast, and what it supports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Literal

from flames.collect.engine import PrivateLoop
from flames.models.base import ChatModel, Message, Reply, RequestError, Sampling, Usage
from flames.models.load import ModelOptions, load_model
from flames.models.parameters import changes_of
from flames.scorers.asking import AnswerForm, tool_calls
from flames.scorers.judge.forms import answer_forms
from flames.taxonomy import default_taxonomy

Support = Literal["yes", "ignored", "refused"]

_HELLO = "用一个字回答：天空是什么颜色的？"
_SCORE = (
    "给“一加一等于二”的正确程度打分，3 最好。只输出一个JSON对象："
    '{"reason": "一句话说明理由", "%s": 分数}'
)
_KEY = "score_7f3a"
_MOST_TOKENS = 512  # room for the thoughts of reasoning models


@dataclass(frozen=True)
class Ping:
    """What a model answered, and which forms of structured output it takes.

    `supports` names each form; `refused` what the endpoint said against it; `changed` the
    parameters that it takes under another name, or not at all.
    """

    model: str
    described: Mapping[str, Any]
    status: str
    text: str | None
    finish_reason: str | None
    latency_s: float
    tokens_in: int | None
    tokens_out: int | None
    reasoning: bool
    requests: int
    supports: Mapping[str, Support] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON."""
        return asdict(self)


def ping(spec: str, options: ModelOptions | None = None) -> Ping:
    """Asks a model one short question, then for a score in each form of structured output.

    Raises:
        RequestError: It did not answer the question.
    """
    model = load_model(spec, options)
    loop = PrivateLoop()
    try:
        return loop.run(_ping(model))
    finally:
        loop.close()


async def _ping(model: ChatModel) -> Ping:
    described = dict(model.describe())
    if "base_url" in described:  # importing the client takes longer than many an answer
        import_module("openai")
    try:
        begun = time.monotonic()
        reply = await model.ask([Message("user", _HELLO)], _sampling(model))
        latency = time.monotonic() - begun
        supports: dict[str, Support] = {}
        refused: dict[str, str] = {}
        forms = {} if described.get("api") == "completions" else _structured()
        for name, form in forms.items():
            try:
                question = [Message("user", _SCORE % _KEY)]
                scored = await model.ask(question, _sampling(model, form(_KEY)))
            except RequestError as error:
                supports[name], refused[name] = "refused", str(error)
            else:
                supports[name] = "yes" if _took(name, scored) else "ignored"
    finally:
        await model.aclose()
    usage = reply.usage or Usage()
    return Ping(
        model=model.name,
        described=described,
        status=reply.status,
        text=reply.text,
        finish_reason=reply.finish_reason,
        latency_s=round(latency, 3),
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        reasoning=bool(reply.reasoning),
        requests=1 + len(forms),
        supports=supports,
        refused=refused,
        changed=changes_of(model).told(),
    )


def _structured() -> dict[str, AnswerForm]:
    forms = answer_forms(default_taxonomy().dimensions)
    return {name: form for name, form in forms.items() if name != "plain"}


def _sampling(model: ChatModel, extra: Mapping[str, Any] | None = None) -> Sampling:
    extra = extra or {}
    asked = Sampling(temperature=0.0, max_tokens=_MOST_TOKENS, extra=extra, required=tuple(extra))
    return asked.over(model.defaults)


def _took(form: str, reply: Reply) -> bool:
    if form == "tool":
        return _KEY in tool_calls(reply.raw)
    text = (reply.text or "").strip()
    return text.startswith("{") and text.endswith("}") and _KEY in text
