"""Asking many things of one model: concurrency, retries, budget, and when to give up.

The same engine collects responses and asks judges.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from flames.collect.limits import AdaptiveLimit, BudgetSpent, Meter, Prices
from flames.errors import FlamesError, UsageError
from flames.models.base import (
    ChatModel,
    EndpointUnusable,
    Message,
    RateLimited,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
    Unreachable,
)
from flames.options import Opt, check_options

T = TypeVar("T")

HOPELESS = (EndpointUnusable, Unreachable)
# How many requests may end without an answer, one after another, before the endpoint is given up:
_LOST_IN_A_ROW = 3  # for reasons of that kind
_NEVER_ANSWERED = 10  # for reasons that may pass, where none was answered yet
_FAILED_IN_A_ROW = 100  # for such reasons later, or rejected where none was ever answered


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """Something to ask; `tag` is the caller's, to know the outcome by.

    `sampling` replaces the collector's own for this request.
    """

    tag: T
    messages: tuple[Message, ...]
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True)
class AskOutcome(Generic[T]):
    """How asking ended: with a reply, or with the failure that was left after all retries.

    `latency_s` is of the last attempt, in seconds.
    """

    request: Request[T]
    reply: Reply | None
    failure: RequestError | None
    attempts: int
    latency_s: float


@dataclass(frozen=True)
class AskSettings:
    """How hard to try, and how much may be used by all sessions of a run together.

    Args:
        patience: Attempts of one request that the endpoint may turn away for its rate.
        backoff_s: The first wait before trying again, in seconds; each further one doubles.
        longest_wait_s: The longest wait that is made; an endpoint that asks for more is
            given up.

    Raises:
        UsageError: A limit is out of range, or one of money was given without prices.
    """

    concurrency: Annotated[
        int | None,
        Opt(
            "Maximum number of concurrent requests; fewer where the endpoint asks for it.",
            metavar="N",
            min=1,
        ),
    ] = None
    retries: Annotated[int, Opt("Further attempts after a failure.", metavar="N", min=0)] = 4
    max_requests: Annotated[
        int | None,
        Opt(
            "Maximum number of requests of the whole run, with retries and earlier sessions.",
            metavar="N",
            min=1,
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        Opt(
            "Maximum cost of the whole run, with earlier sessions; needs prices.",
            metavar="MONEY",
            min=0,
        ),
    ] = None
    price_in: Annotated[
        float | None, Opt("Price of a million input tokens.", metavar="MONEY", min=0)
    ] = None
    price_out: Annotated[
        float | None, Opt("Price of a million output tokens.", metavar="MONEY", min=0)
    ] = None
    patience: int = 8
    backoff_s: float = 0.5
    longest_wait_s: float = 120.0

    def __post_init__(self) -> None:
        check_options(self)
        if (self.price_in is None) != (self.price_out is None):
            raise UsageError("--price-in and --price-out go together")
        if self.max_cost is not None and self.price_in is None:
            raise UsageError("--max-cost needs prices: give --price-in and --price-out")

    @property
    def prices(self) -> Prices | None:
        """What tokens cost, where that was given."""
        if self.price_in is None or self.price_out is None:
            return None
        return Prices(self.price_in, self.price_out)


class Collector:
    """Asks one model many things.

    The first request goes alone: if the endpoint is not to be used at all (a wrong key, an
    unknown model, nobody there), that is raised at once. Later on, too, the endpoint is given
    up when several requests in a row end that way, or many in any other.

    Args:
        model: Whom to ask.
        sampling: How; the model's defaults fill what it leaves open.
        settings: How hard to try.
        sending: Told before each request, retries included. What it raises ends the asking.

    Attributes:
        answered: Whether the model ever answered, earlier sessions included: then requests that
            it rejects are no reason to give it up.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        sampling: Sampling | None = None,
        settings: AskSettings | None = None,
        sending: Callable[[], None] | None = None,
    ) -> None:
        self.model = model
        self._sending = sending
        self.settings = settings or AskSettings()
        self.sampling = (sampling or Sampling()).over(model.defaults)
        self.meter = Meter(
            prices=self.settings.prices,
            max_requests=self.settings.max_requests,
            max_cost=self.settings.max_cost,
            max_tokens=self.sampling.max_tokens,
        )
        self._most = self.settings.concurrency or model.concurrency
        self.limit = AdaptiveLimit(self._most)
        self._stop: FlamesError | None = None
        self.answered = False
        self._tried = self._proven = False
        self._lost = self._failed = 0

    async def outcomes(self, requests: Iterable[Request[T]]) -> AsyncGenerator[AskOutcome[T], None]:
        """Asks everything, yielding outcomes as they come, in no particular order.

        `requests` is drawn from as places get free. Use it under `contextlib.aclosing` where
        the loop may be left early: requests under way are then cancelled.

        Raises:
            EndpointUnusable: No request can work.
            Unreachable: Nobody answers there any more.
            BudgetSpent: There is no more to spend; some requests were not made.
        """
        queue: asyncio.Queue[AskOutcome[T] | None] = asyncio.Queue()
        self._stop = None
        giving = asyncio.create_task(self._give_out(requests, queue))
        try:
            while (outcome := await queue.get()) is not None:
                yield outcome
            await giving
        finally:
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)
        if self._stop is not None:
            raise self._stop

    async def _give_out(
        self, requests: Iterable[Request[T]], queue: asyncio.Queue[AskOutcome[T] | None]
    ) -> None:
        live: set[asyncio.Task[None]] = set()
        # those that wait before a retry hold no place of the limit, but they are bounded too
        room = asyncio.Semaphore(4 * self._most)

        def ended(task: asyncio.Task[None]) -> None:
            live.discard(task)
            room.release()

        try:
            for request in requests:
                await room.acquire()
                since = await self.limit.acquire()
                if self._stop is not None:
                    self.limit.release()
                    break
                task = asyncio.create_task(self._see_through(request, since, queue))
                live.add(task)
                task.add_done_callback(ended)
                if not self._tried:
                    await task
                    self._tried = True
            if live:
                await asyncio.wait(live)
        finally:
            for task in live:
                task.cancel()
            await asyncio.gather(*live, return_exceptions=True)
            queue.put_nowait(None)

    async def _see_through(
        self, request: Request[T], since: float, queue: asyncio.Queue[AskOutcome[T] | None]
    ) -> None:
        loop = asyncio.get_running_loop()
        failures = throttles = attempts = 0
        failure: RequestError | None = None
        reply: Reply | None = None
        begun = since
        while True:
            try:
                held = self.meter.hold(request.messages)
            except BudgetSpent as spent:
                self.limit.release()
                self._stop = self._stop or spent
                if failure is None:
                    return  # never asked: it stays open
                break
            attempts += 1
            begun = loop.time()
            try:
                if self._sending is not None:
                    self._sending()
                reply = await self.model.ask(request.messages, request.sampling or self.sampling)
                failure = None
            except RequestError as error:
                failure = error
            except FlamesError as error:
                self._stop = self._stop or error
                return
            except Exception as error:
                failure = RequestRejected(f"{type(error).__name__}: {error}")
            finally:
                ended = loop.time()
                self.limit.release()
                self.meter.settle(held, request.messages, reply)
            if failure is None:
                self.limit.succeeded()
                break
            if isinstance(failure, RateLimited):
                throttles += 1
                failure = self._throttled(failure, since)
            else:
                failures += 1
            if self._final(failure, failures, throttles):
                break
            await asyncio.sleep(self._wait(failure, max(failures, throttles)))
            since = await self.limit.acquire()
        self._judge(failure)
        queue.put_nowait(AskOutcome(request, reply, failure, attempts, ended - begun))

    def _throttled(self, failure: RateLimited, since: float) -> RequestError:
        wait = failure.retry_after
        if wait is not None and wait > self.settings.longest_wait_s:
            return EndpointUnusable(f"{failure}; it asks to wait {wait:.0f} s, so resume later")
        self.limit.throttled(since, wait)
        return failure

    def _final(self, failure: RequestError, failures: int, throttles: int) -> bool:
        if not failure.retryable or self._stop is not None:
            return True
        if isinstance(failure, Unreachable) and not self._proven:
            return failures > 1  # the first request is to fail fast
        return failures > self.settings.retries or throttles >= self.settings.patience

    def _wait(self, failure: RequestError, times: int) -> float:
        if failure.retry_after is not None:
            return failure.retry_after * random.uniform(1.0, 1.1)  # noqa: S311
        longest = min(self.settings.backoff_s * 2.0 ** (times - 1), 15.0)
        return random.uniform(0.5, 1.0) * longest  # noqa: S311

    def _judge(self, failure: RequestError | None) -> None:
        """Gives the endpoint up where it must be."""
        if failure is None:
            self.answered = self._proven = True
            self._lost = self._failed = 0
            return
        hopeless, rejected = isinstance(failure, HOPELESS), isinstance(failure, RequestRejected)
        self._failed = 0 if rejected and self.answered else self._failed + 1
        self._lost = self._lost + 1 if hopeless else 0
        if hopeless and (not self._proven or self._lost >= _LOST_IN_A_ROW):
            self._stop = self._stop or failure
        elif self._failed >= (_FAILED_IN_A_ROW if self._proven or rejected else _NEVER_ANSWERED):
            told = f"{self._failed} requests in a row got no answer, the last: {failure}"
            self._stop = self._stop or EndpointUnusable(told)
