"""Asks a model every prompt of a set, into a run directory."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, aclosing, closing, nullcontext
from dataclasses import dataclass
from typing import Any, Self

from flames import __version__
from flames.collect.engine import AskOutcome, Collector, PrivateLoop, Request
from flames.collect.limits import (
    CostEstimate,
    Meter,
    estimate_cost,
    tokens_of_messages,
    used,
)
from flames.collect.plan import Plan, make_plan, now
from flames.collect.responses import response_to
from flames.collect.settings import AskSettings
from flames.errors import FlamesError, OutsideError, UsageError
from flames.metrics.failures import count_alike
from flames.models.base import ChatModel, Message, Reply, Usage
from flames.models.parameters import changes_of
from flames.prompts.sets import PromptSet
from flames.records import Key, Prompt, Response
from flames.storage.checksums import file_sha256
from flames.storage.manifest import RunSession, without_secrets
from flames.storage.run_batches import in_batches
from flames.storage.run_dir import RunDir
from flames.storage.run_start import create_run

Progress = Callable[["AskState"], None]
Tag = tuple[Prompt, int]


@dataclass(frozen=True)
class AskState:
    """The state of a run; costs are None without prices.

    Args:
        done: Responses that are settled, or ended in an error in this session.
        requests: Requests of this session, retries included.
        earlier: Requests of earlier sessions.
        lost: Requests of earlier sessions that were cut off, so that their outcome is unknown.
        a_minute: The requests a minute that the endpoint seems to allow, once it rejected some.
        waiting_s: Seconds until the next request may be sent.
        lost_cost: The most that the lost requests may have cost.
        currency: Of the costs, where it is known.
        in_batches: Requests in batches that are not yet collected.
    """

    planned: int
    done: int
    counts: Counter[str]
    requests: int
    earlier: int
    lost: int
    a_minute: float | None
    waiting_s: float
    cost: float | None
    lost_cost: float | None
    in_batches: int = 0
    currency: str | None = None


def prepare(
    plan: Plan,
    out: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    accept_changes: bool = False,
    grow: bool = False,
) -> RunDir:
    """Makes the run directory of a plan, or opens the one that is there; see `create_run`."""
    if not plan.prompts.prompts:
        raise UsageError(f"{plan.prompts.full_name}: holds no prompts")
    return create_run(
        out or plan.default_folder(),
        plan.manifest(),
        plan.prompts.prompts,
        taxonomy=plan.taxonomy,
        resume=resume,
        accept_changes=accept_changes,
        grow=grow,
    )


def count_response(meter: Meter, response: Response, messages: tuple[Message, ...]) -> None:
    """Counts what a response of an earlier session took, which was asked with these messages."""
    meter.requests += response.attempts or 0
    if response.status != "error":
        usage = Usage(response.usage or {})
        reply = Reply(response.status, response.response, None, response.reasoning, usage)
        meter.count(*used(reply, messages))


class Asking:
    """Asks the prompts that a run still lacks; a `with` block locks the run.

    `shared` is what its collector has in common with others: `pace` and `budgets`.
    """

    def __init__(
        self, plan: Plan, run: RunDir, settings: AskSettings | None = None, **shared: Any
    ) -> None:
        self.plan = plan
        self.run = run
        self.collector = Collector(
            plan.model,
            sampling=plan.sampling,
            settings=settings,
            sending=lambda: self._requests.write(b"."),
            **shared,
        )
        self.counts: Counter[str] = Counter()
        self._sampling = without_secrets(self.collector.sampling.to_dict())
        self.changes = changes_of(plan.model)

    def __enter__(self) -> Self:
        meter = self.collector.meter
        with ExitStack() as stack:  # frees the lock if the log cannot be opened
            self._journal = stack.enter_context(self.run.writing(self._count_earlier))
            self._requests = stack.enter_context(closing(self.run.request_log(meter.requests)))
            self._stack = stack.pop_all()
        self.counts.update(self._journal.entries.values())
        self.collector.patience.answered = bool(self.counts.total() - self.counts["error"])
        self.dropped = self._journal.dropped
        self._lost = self._requests.size - meter.requests
        longest = max(tokens_of_messages(self.plan.messages(p)) for p in self.plan.prompts.prompts)
        self._lost_cost = meter.lose(self._lost, longest)
        answered = (key for key, status in self._journal.entries.items() if status != "error")
        self.held = in_batches(self.run, set(answered))
        self.costs = {key: self._hold(key) for key in self.held}
        self._earlier = meter.requests
        self._earlier_cost = meter.cost or 0.0
        self._failed = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _hold(self, key: Key) -> float:
        asked = self.plan.messages(self.plan.prompts.by_id[key.prompt_id])
        return self.collector.meter.hold(asked, sent=True)

    def _count_earlier(self, response: Response) -> None:
        messages = self.plan.messages(self.plan.prompts.by_id[response.prompt_id])
        count_response(self.collector.meter, response, messages)

    def pending(self) -> Iterator[Request[Tag]]:
        """Yields the requests that are missing or ended in an error, in the order of asking."""
        for prompt, sample in self.run.planned():
            key = Key(prompt.id, self.run.model, sample)
            if self._journal.entries.get(key, "error") == "error" and key not in self.held:
                yield Request((prompt, sample), self.plan.messages(prompt))

    def estimate(self) -> CostEstimate:
        """Estimates the tokens of the pending requests, and with prices their cost."""
        prices = self.collector.settings.prices
        asked = (request.messages for request in self.pending())
        return estimate_cost(asked, prices, max_tokens=self.collector.sampling.max_tokens)

    @property
    def state(self) -> AskState:
        """The state of the run."""
        return AskState(
            planned=self.run.manifest.planned,
            done=self.counts.total() - self.counts["error"] + self._failed,
            counts=self.counts,
            requests=self.collector.meter.requests - self._earlier,
            earlier=self._earlier,
            lost=self._lost,
            a_minute=self.collector.pace.rate.found,
            waiting_s=self.collector.pace.waits(),
            cost=self.collector.meter.cost,
            lost_cost=self._lost_cost,
            currency=self.collector.settings.currency,
            in_batches=len(self.held),
        )

    def ask(self, progress: Progress | None = None) -> AskState:
        """Asks, writing every response as it comes, then checks the journal.

        Raises:
            OutsideError: The endpoint was given up, the budget is spent, or the disk has not kept
                what was written.
        """
        loop = PrivateLoop()
        try:
            loop.run(self.answered(progress))
        finally:
            loop.close()
        return self.state

    async def answered(self, progress: Progress | None = None) -> None:
        """Does what `ask` does, in a loop that asks for other runs as well."""
        session = RunSession(
            started=now(),
            code_version=__version__,
            python=platform.python_version(),
            system=platform.platform(),
        )
        sessions = (*self.run.manifest.sessions, session)
        self.run.update(sessions=sessions, counts=None, responses_sha256=None)
        outcome = "interrupted"
        try:
            await self._ask(progress)
            outcome = "complete"
        except FlamesError as error:
            outcome = f"stopped: {error}"
            raise
        finally:
            self._end(outcome)

    async def _ask(self, progress: Progress | None) -> None:
        left = self.run.manifest.planned - self.counts.total() + self.counts["error"]
        left -= len(self.held)
        outcomes = self.collector.outcomes(self.pending(), left)
        if progress is not None:
            self.collector.on_pause = lambda: progress(self.state)
        try:
            async with aclosing(outcomes):
                async for outcome in outcomes:
                    self._keep(self._response(outcome))
                    if progress is not None:
                        progress(self.state)
        finally:
            await self.plan.model.aclose()
        if self.held:
            raise OutsideError(
                f"{len(self.held)} of {self.run.manifest.planned} responses are in a batch: "
                "the same command with --batch --resume collects them"
            )

    def _keep(self, response: Response) -> None:
        before = self._journal.entries.get(response.key)
        self._journal.keep(response.key, response.status, response.to_line())
        if before is not None:
            self.counts[before] -= 1
        self.counts[response.status] += 1
        self._failed += response.status == "error"

    def _response(self, outcome: AskOutcome[Tag]) -> Response:
        prompt, sample = outcome.request.tag
        return response_to(
            prompt,
            Key(prompt.id, self.run.model, sample),
            outcome.reply or Reply("error", note=str(outcome.failure)),
            latency_s=round(outcome.latency_s, 3),
            attempts=outcome.attempts,
            sampling=self.changes.sampled(self._sampling) or None,
            created=now(),
        )

    def _end(self, outcome: str) -> None:
        counts = self.run.check(self._journal.entries)
        if outcome == "complete" and counts["error"] + counts["missing"]:
            outcome = "errors left"
        *sessions, session = self.run.manifest.sessions
        meter = self.collector.meter
        requests = meter.requests - self._earlier
        cost = None if meter.cost is None else round(meter.cost - self._earlier_cost, 8)
        ended = session.model_copy(
            update={
                "ended": now(),
                "requests": requests,
                "cost": cost,
                "currency": self.collector.settings.currency if cost is not None else None,
                "outcome": outcome,
                "changed": self.changes.told() or None,
            }
        )
        digest = file_sha256(self.run.responses_path)
        self.run.update(sessions=(*sessions, ended), counts=counts, responses_sha256=digest)


Watch = Callable[[Asking], AbstractContextManager[Progress | None]]
"""Called once the run is open; what it yields is called after each response."""


@dataclass(frozen=True)
class Asked:
    """The run, how far it is, and what stopped it before its end, if anything did."""

    run: RunDir
    state: AskState
    stopped: OutsideError | None = None

    def reasons(self) -> dict[str, int]:
        """Counts the errors that are left by what was said, the most frequent first."""
        if not self.state.counts.get("error"):
            return {}
        found = self.run.responses()
        return count_alike(r.error or "" for r in found if r.status == "error")

    def failure(self) -> OutsideError | None:
        """Returns what the exit code must report: what stopped it, or the errors that are left."""
        errors = self.state.counts.get("error", 0)
        if self.stopped is not None or not errors:
            return self.stopped
        return OutsideError(
            f"{errors} of {self.state.planned} responses ended in an error; "
            "add --resume to ask them again"
        )


def collect(
    plan: Plan,
    out: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    accept_changes: bool = False,
    settings: AskSettings | None = None,
    watch: Watch | None = None,
    asking_by: Callable[[Plan, RunDir, AskSettings], Asking] = Asking,
) -> Asked:
    """Asks what a run lacks; if the outside world stops it, the result says so."""
    stopped: OutsideError | None = None
    settings = (settings or AskSettings()).under(getattr(plan.model, "terms", {}))  # or no run
    run = prepare(plan, out, resume=resume, accept_changes=accept_changes)
    with asking_by(plan, run, settings) as asking:
        try:
            with nullcontext() if watch is None else watch(asking) as progress:
                asking.ask(progress)
        except OutsideError as error:
            stopped = error
        return Asked(asking.run, asking.state, stopped)


def ask(
    model: str | ChatModel | Callable[[str], Any],
    prompts: str | os.PathLike[str] | PromptSet = "open",
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    settings: AskSettings | None = None,
    progress: Progress | None = None,
    **planned: Any,
) -> RunDir:
    """Asks a model every prompt of a set, into a run directory.

    Args:
        model: A model by name, as on the command line, a `ChatModel`, or a function from a
            prompt's text to an answer's (plain or asynchronous).
        prompts: A set by name, a file, or a loaded set.
        out: The run directory; named by date and model unless given.
        resume: Continue the run that is there, if there is one.
        accept_changes: Continue it even with settings that change its answers; it tells them.
        progress: Called after each response.
        **planned: `limit` (ask a random sample of so many prompts, balanced over subcomponents),
            `seed` (of the sample), `repeats` (ask each prompt so often), `system` (the system
            prompt), `sampling`, `options` (how the model is reached), and `taxonomy`, `mapping`
            and `encoding` (how the prompts are read).

    Returns:
        The run; `run.manifest.counts` says how the responses ended.

    Raises:
        OutsideError: Asking had to stop; the run holds the responses so far.
    """
    plan = make_plan(model, prompts, **planned)
    watch = None if progress is None else lambda asking: nullcontext(progress)
    asked = collect(
        plan, out, resume=resume, accept_changes=accept_changes, settings=settings, watch=watch
    )
    if asked.stopped is not None:
        raise asked.stopped
    return asked.run
