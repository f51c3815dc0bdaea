"""`guard:MODEL` and `guard:ADAPTER:MODEL`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from flames.errors import InputError, UsageError
from flames.models import ChatModel, Message, OpenAIModel, Reply, Sampling
from flames.scorers._asking import Asker
from flames.scorers._options import (
    journal_path,
    model_and_settings,
    number,
    one_of,
    text,
)
from flames.scorers.base import ScorerContext
from flames.scorers.guard._adapters import ADAPTERS, Adapter
from flames.scorers.guard._scorer import Controversial, GuardScorer, guard_id

DEFAULT_MODERATION = "openai/omni-moderation-latest"


def load(argument: str, context: ScorerContext) -> GuardScorer:
    """A guard.

    Options, beside those of every scorer that asks a model: `controversial` (unscored, unsafe
    or safe) and, for ShieldLM, `prompt` (a file with `{{prompt}}` and `{{response}}`).

    Args:
        argument: A model whose name tells its family, or `ADAPTER:MODEL`; `moderation` alone is
            OpenAI's endpoint.
        context: Taxonomy and options.

    Raises:
        UsageError: No adapter fits, there is no such model, or an option is not what it should be.
        InputError: The prompt file cannot be used.
    """
    adapter, name = _adapter(argument)
    model, settings = model_and_settings(name, context)
    if adapter.asked == "moderation":
        if not isinstance(model, OpenAIModel):
            raise UsageError(f"{name} has no moderation endpoint; use {DEFAULT_MODERATION}")
        model = ModerationModel(model)
    return guard_with(model, adapter, context, settings=settings)


def guard_with(
    model: ChatModel, adapter: Adapter, context: ScorerContext, **asking: Any
) -> GuardScorer:
    """A guard from a model that is there already.

    Args:
        model: The guard.
        adapter: Which family it is of.
        context: Taxonomy and options, as for `guard:MODEL`.
        asking: Passed on to the asker (`settings`).
    """
    options = context.options
    if not any(d.name in {dim for dim, _ in adapter.covers} for d in context.taxonomy.dimensions):
        raise UsageError(f"{adapter.name} covers nothing of the taxonomy {context.taxonomy.id}")
    controversial: Controversial = one_of(options, "controversial", get_args(Controversial))
    template = _template(text(options, "prompt")) if adapter.asked == "prompt" else None
    sampling = Sampling(
        temperature=number(options, "temperature", 0.0),
        max_tokens=int(number(options, "max_tokens", adapter.max_tokens)),
    )
    name = guard_id(model.name, adapter, controversial, template)
    journal = journal_path(options, "guard", name)
    asker = Asker(model, sampling=sampling, journal=journal, **asking)
    return GuardScorer(asker, adapter, context.taxonomy, controversial, template)


def _adapter(argument: str) -> tuple[Adapter, str]:
    first, _, rest = argument.partition(":")
    if first in ADAPTERS and rest:
        return ADAPTERS[first], rest
    if argument == "moderation":
        return ADAPTERS["moderation"], DEFAULT_MODERATION
    for adapter in ADAPTERS.values():
        if adapter.models.search(argument):
            return adapter, argument
    names = ", ".join(ADAPTERS)
    raise UsageError(
        f"{argument!r} is no guard that Flames can read; name its family, as in "
        f"guard:qwen3guard:{argument or 'MODEL'} (one of: {names})"
    )


def _template(path: str | None) -> tuple[str, str]:
    if path is None:
        file = resources.files("flames").joinpath("data", "guard", "zh-v1.md")
        return file.read_text("utf-8").strip(), "zh-v1"
    try:
        raw = Path(path).read_bytes()
        words = raw.decode("utf-8-sig").strip()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", path=path) from None
    for name in ("{{prompt}}", "{{response}}"):
        if words.count(name) != 1:
            raise InputError(f"needs {name}, once", path=path)
    return words, f"{Path(path).stem}-{hashlib.sha256(raw).hexdigest()[:8]}"


class ModerationModel:
    """The moderation endpoint, asked like a model: its answer's text is its JSON.

    Args:
        model: A model of the endpoint; its name is the moderation model's.
    """

    def __init__(self, model: OpenAIModel) -> None:
        self._model = model
        self.name = model.name
        self.concurrency = model.concurrency
        self.defaults = Sampling()

    def describe(self) -> dict[str, Any]:
        """As its model, and that it is asked to moderate."""
        return {**self._model.describe(), "api": "moderations"}

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Has the last message's text moderated.

        Raises:
            RequestError: There was no answer.
        """
        body = {"model": self._model.describe()["model"], "input": messages[-1].content}
        raw = await self._model.post("/moderations", body)
        if isinstance(raw, Reply):
            return raw
        try:
            kept = json.dumps({"results": json.loads(raw)["results"]})
        except (ValueError, KeyError, TypeError, RecursionError):
            kept = raw[:200].decode("utf-8", "replace")
        return Reply("ok", text=kept)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._model.aclose()
