"""Asks a model for a scorer: with the engine that collects responses, and a journal.

The journal knows a question by its content (model, messages, sampling, vote). A scoring that was
killed, or is repeated, asks no question again that has an answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_args

from flames.collect.engine import Collector, PrivateLoop, Request
from flames.collect.limits import Prices
from flames.collect.plan import now
from flames.collect.settings import AskSettings
from flames.models.base import (
    ChatModel,
    Message,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
    TransientFailure,
    Usage,
    parse_body,
)
from flames.models.parameters import changes_of
from flames.options import Opt
from flames.records import Status, Verdict, dump_line
from flames.scorers.base import ScorerContext
from flames.storage.home import home
from flames.storage.journal import Journal, JournalLine
from flames.storage.run_dir import safe_name


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a model, once per vote; `key` is the JSON key for structured output."""

    messages: tuple[Message, ...]
    vote: int = 0
    key: str = ""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The outcome of a question; token counts are the provider's, None where it gives none.

    `changed` are the parameters that the endpoint refused: their other names, or `left out`.
    """

    status: Status
    text: str | None = None
    note: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    changed: Mapping[str, str] | None = None


AnswerForm = Callable[[str], Mapping[str, Any]]
"""A way to ask for structured output: fields of the request's body, by the score's key."""


def plain(key: str) -> Mapping[str, Any]:
    """Leaves the form of the answer to the prompt."""
    return {}


_KEPT = frozenset(get_args(Status)) - {"error"}


def _journal_entry(line: JournalLine) -> tuple[str, ModelAnswer] | None:
    fields = line.fields or {}
    key, text = fields.get("key"), fields.get("text", "")
    if not isinstance(key, str) or not isinstance(text, str) or fields.get("status") not in _KEPT:
        return None
    kept: dict[str, Any] = {name: fields.get(name) for name in ModelAnswer.__slots__}
    return key, ModelAnswer(**kept)


@dataclass(frozen=True)
class JournalOptions:
    """Where the answers to a scorer's questions are kept."""

    journal: Annotated[str | None, Opt("File of the answers, or `none`.", metavar="FILE")] = None


@dataclass(frozen=True)
class BodyOptions:
    """What requests hold beside the sampling parameters."""

    extra_body: Annotated[
        Mapping[str, Any], Opt("Further fields of the request body.", metavar="JSON|@FILE")
    ] = field(default_factory=dict)


def read_sampling(context: ScorerContext, defaults: Sampling) -> Sampling:
    """Returns the sampling parameters of a scorer; `none` leaves one to the provider."""
    options = dict(context.options)
    unset = {name for name in ("temperature", "max_tokens", "seed") if options.get(name) == "none"}
    body = options.get("extra_body")
    if isinstance(body, str):
        options["extra_body"] = parse_body(body)
    given = replace(context, options={n: v for n, v in options.items() if n not in unset})
    extra = given.read(BodyOptions).extra_body
    sampling = given.read(Sampling)
    sampling = replace(sampling, extra={**sampling.extra, **extra}).over(defaults)
    left: dict[str, Any] = dict.fromkeys(unset)
    return replace(sampling, **left)


class ModelAsker:
    """Asks one model many questions, each at most once.

    Used under `with`, which keeps connections (and a model that is served for it) open between
    calls of `ask`. `forms` are ways to ask for structured output, best first: where the endpoint
    rejects one, or fails on it before it ever answered, the next is tried.

    Args:
        context: Its options say how to ask, and where the journal is.
        defaults: Sampling parameters that the options do not set.
        folder: Flames' own folder for the journal, unless the options name a file.
        name: Name of the journal in that folder.
    """

    def __init__(
        self, model: ChatModel, context: ScorerContext, defaults: Sampling, folder: str, name: str
    ) -> None:
        prices = {"price_in", "price_out"} & context.options.keys()
        free = dict.fromkeys(("price_in", "price_out"), 0.0) if prices else {}
        settings = replace(context, options={**free, **context.options}).read(AskSettings)
        self.model = model
        sampling = read_sampling(context, defaults)
        self.collector = Collector(
            model,
            sampling=sampling,
            settings=settings,
            pace=None if context.pace is None else context.pace(model, settings),
            budgets=context.budgets,
        )
        self.forms: tuple[AnswerForm, ...] = (plain,)
        self.prices = self.collector.settings.prices
        self._sampling = self.collector.sampling
        given = context.read(JournalOptions).journal
        own = home() / folder / f"{safe_name(name)}.jsonl"
        self.journal_path = None if given == "none" else Path(given) if given else own
        self._journal: Journal[str, ModelAnswer] | None = None
        if self.journal_path is not None:
            self._journal = Journal(self.journal_path, _journal_entry, shared=True, mode=0o600)
        self._answers = {} if self._journal is None else self._journal.entries
        self.described = model.describe()  # once: it may take checksums of large files
        self._identity = dump_line([self.described, self._sampling.to_dict()])
        self._works = False
        self._loop: PrivateLoop | None = None

    def __enter__(self) -> ModelAsker:
        self._loop = PrivateLoop()
        return self

    def __exit__(self, *_: object) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                loop.run(self.model.aclose())
            finally:
                loop.close()

    def ask(self, questions: Sequence[Question]) -> list[ModelAnswer]:
        """Returns an answer per question, in order; those that failed have the status `error`.

        An OutsideError (endpoint given up, budget spent) leaves the answers so far in the journal.
        """
        keys = [self._key(question) for question in questions]
        wanted = {k: q for k, q in zip(keys, questions, strict=True) if k not in self._answers}
        failed: dict[str, ModelAnswer] = {}
        if wanted:
            if len(wanted) < len(set(keys)):
                self.collector.patience.answered = True
            if self._loop is None:
                raise RuntimeError("a ModelAsker must be used under `with`")
            self._loop.run(self._ask(wanted, failed))
        return [self._answers.get(key) or failed[key] for key in keys]

    def _keep(self, key: str, answer: ModelAnswer) -> None:
        if self._journal is None:
            self._answers[key] = answer
            return
        kept = {name: value for name, value in asdict(answer).items() if value is not None}
        self._journal.keep(key, answer, dump_line({"key": key, **kept, "created": now()}))

    def _key(self, question: Question) -> str:
        messages = [[message.role, message.content] for message in question.messages]
        whole = dump_line([self._identity, messages, question.vote])
        return hashlib.sha256(whole.encode("utf-8")).hexdigest()[:32]

    async def _ask(self, wanted: Mapping[str, Question], failed: dict[str, ModelAnswer]) -> None:
        questions = list(wanted.items())
        while questions and not self._works:  # one alone finds out which form the endpoint takes
            await self._pass(questions[:1], failed)
            questions = questions[1:]
        await self._pass(questions, failed)

    async def _pass(
        self, questions: Sequence[tuple[str, Question]], failed: dict[str, ModelAnswer]
    ) -> None:
        forms, open_ = self.forms, dict(questions)
        for position, form in enumerate(forms):
            rejected: dict[str, Question] = {}
            requests = [
                Request(key, q.messages, _formed(form(q.key)).over(self._sampling))
                for key, q in open_.items()
            ]
            async with aclosing(self.collector.outcomes(requests)) as outcomes:
                async for outcome in outcomes:
                    key, reply, failure = outcome.request.tag, outcome.reply, outcome.failure
                    if reply is not None:
                        if not self._works:
                            self._works, self.forms = True, forms[position:]
                        changed = changes_of(self.model).told() or None
                        answer = _answer_of(reply, outcome.latency_s)
                        self._keep(key, replace(answer, changed=changed))
                    elif position + 1 < len(forms) and self._about_the_form(failure):
                        rejected[key] = open_[key]
                    else:
                        failed[key] = ModelAnswer("error", note=str(failure))
            if not rejected:
                return
            open_ = rejected

    def _about_the_form(self, failure: RequestError | None) -> bool:
        if isinstance(failure, RequestRejected):
            return True
        # some endpoints break down over a form that they do not know
        return isinstance(failure, TransientFailure) and not self._works


def _formed(fields: Mapping[str, Any]) -> Sampling:
    return Sampling(extra=fields, required=tuple(fields))


def _answer_of(reply: Reply, latency_s: float) -> ModelAnswer:
    usage = reply.usage or Usage()
    text, status = reply.text, reply.status
    if status == "empty" and (called := tool_calls(reply.raw)):
        text, status = called, "ok"
    return ModelAnswer(
        status, text, reply.note, usage.tokens_in, usage.tokens_out, round(latency_s, 4)
    )


def tool_calls(raw: Mapping[str, Any] | None) -> str:
    """Returns the arguments of the tool calls in a provider's answer, a line each."""
    try:
        calls = raw["choices"][0]["message"]["tool_calls"]  # type: ignore[index]
        given = [call["function"]["arguments"] for call in calls]
        return "\n".join(dump_line(each) if isinstance(each, dict) else each for each in given)
    except (TypeError, KeyError, IndexError):
        return ""


def answer_usage(answers: Sequence[ModelAnswer], prices: Prices | None) -> dict[str, Any]:
    """Returns what answers used: requests, tokens, seconds of waiting, cost where it is known."""
    tokens_in = sum(answer.tokens_in or 0 for answer in answers)
    tokens_out = sum(answer.tokens_out or 0 for answer in answers)
    usage: dict[str, Any] = {
        "requests": len(answers),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "latency_s": round(sum(answer.latency_s or 0.0 for answer in answers), 3),
    }
    if prices is not None and all(answer.tokens_in is not None for answer in answers):
        usage["cost"] = round(prices.cost(tokens_in, tokens_out), 8)
        if prices.currency:
            usage["currency"] = prices.currency
    return usage


def changed_parameters(answers: Sequence[ModelAnswer]) -> dict[str, Any]:
    """Returns the field `changed` of a verdict, where answers were asked for otherwise."""
    changed: dict[str, str] = {}
    for answer in answers:
        changed |= answer.changed or {}
    return {"changed": changed} if changed else {}


def total_usage(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Adds up what verdicts used; the cost only where all have one, in the same currency."""
    parts = [verdict.extra["judging"] for verdict in verdicts if "judging" in verdict.extra]
    names = dict.fromkeys(name for part in parts for name in part)
    currencies = {part.get("currency") for part in parts}
    names.pop("currency", None)
    if len(currencies) > 1 or not all("cost" in part for part in parts):
        names.pop("cost", None)
    total = {name: round(sum(part.get(name, 0) for part in parts), 8) for name in names}
    [currency] = currencies if len(currencies) == 1 else [None]
    return total | ({"currency": currency} if currency and "cost" in total else {})


def brief_verdict(verdict: Verdict) -> dict[str, Any]:
    """Returns what a combined verdict keeps of one of its parts."""
    brief = {"scorer": verdict.scorer, "score": verdict.score}
    return brief if verdict.unscored is None else {**brief, "unscored": verdict.unscored}
