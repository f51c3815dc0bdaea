"""Sends many requests to one model, for collecting and judging; knows when to give up."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, Any, Generic, TypeVar

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
from flames.options import CheckedOptions, Opt

T = TypeVar("T")

_HOPELESS = (EndpointUnusable, Unreachable)
# After that many requests in a row without an answer, the endpoint is given up:
_LOST_IN_A_ROW = 3  # for a hopeless failure
_NEVER_ANSWERED = 10  # for any other, where none was answered yet
_FAILED_IN_A_ROW = 100  # for any other later, or rejections where none was ever answered


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One request; `tag` is the caller's own, `sampling` replaces the collector's."""

    tag: T
    messages: tuple[Message, ...]
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True)
class AskOutcome(Generic[T]):
    """A request's reply, or the failure of its last attempt, which took `latency_s` seconds."""

    request: Request[T]
    reply: Reply | None
    failure: RequestError | None
    attempts: int
    latency_s: float


@dataclass(frozen=True)
class AskSettings(CheckedOptions):
    """Concurrency, retries and budget; a budget is for all sessions of a run together.

    Args:
        patience: Maximum number of rate-limited attempts of one request.
        backoff_s: Seconds before the first retry; each further wait doubles.
        longest_wait_s: An endpoint that asks to wait longer is given up.
    """

    concurrency: Annotated[
        int | None,
        Opt("Maximum number of concurrent requests; fewer when throttled.", metavar="N", min=1),
    ] = None
    retries: Annotated[int, Opt("Further attempts after a failure.", metavar="N", min=0)] = 4
    max_requests: Annotated[
        int | None,
        Opt("Maximum number of requests of all sessions, with retries.", metavar="N", min=1),
    ] = None
    max_cost: Annotated[
        float | None,
        Opt("Maximum cost of all sessions; needs prices.", metavar="MONEY", min=0),
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
        super().__post_init__()
        if (self.price_in is None) != (self.price_out is None):
            raise UsageError("--price-in and --price-out go together")

    def under(self, terms: Mapping[str, float]) -> AskSettings:
        """Returns these settings, what is not set completed by a model's terms."""
        if self.price_in is not None:  # prices go together
            terms = {name: n for name, n in terms.items() if not name.startswith("price_")}
        own = {name for name in vars(self) if getattr(self, name) is None}
        given: dict[str, Any] = {name: n for name, n in terms.items() if name in own}
        settings = replace(self, **given)
        if settings.max_cost is not None and settings.price_in is None:
            raise UsageError("--max-cost needs prices: give --price-in and --price-out")
        return settings

    @property
    def prices(self) -> Prices | None:
        """The prices of tokens, where they were given."""
        if self.price_in is None or self.price_out is None:
            return None
        return Prices(self.price_in, self.price_out)


class Collector:
    """Sends many requests to one model.

    The first request goes alone: an endpoint that cannot be used at all (wrong key, unknown model,
    no connection) is reported at once. Later on, it is given up when several requests in a row
    end that way, or many in any other.

    Args:
        sampling: Sampling parameters; the model's defaults complete them.
        sending: Called before each request, retries included. What it raises ends the asking.

    Attributes:
        answered: Whether the model ever answered; rejected requests then do not count against it.
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
        self.settings = (settings or AskSettings()).under(getattr(model, "terms", {}))
        self.sampling = (sampling or Sampling()).over(model.defaults)
        self.meter = Meter(
            prices=self.settings.prices,
            max_requests=self.settings.max_requests,
            max_cost=self.settings.max_cost,
            max_tokens=self.sampling.max_tokens,
        )
        self.limit = AdaptiveLimit(self.settings.concurrency or model.concurrency)
        self.answered = False
        self._sending = sending
        self._stop: FlamesError | None = None
        self._tried = self._proven = False
        self._lost = self._failed = 0

    async def outcomes(self, requests: Iterable[Request[T]]) -> AsyncGenerator[AskOutcome[T], None]:
        """Yields the outcomes of all requests as they come, in no particular order.

        Use `contextlib.aclosing` where the loop may be left early: it cancels pending requests.

        Raises:
            EndpointUnusable, Unreachable, BudgetSpent: Asking ended; some requests were not sent.
        """
        queue: asyncio.Queue[AskOutcome[T] | None] = asyncio.Queue()
        self._stop = None
        sender = asyncio.create_task(self._send_all(requests, queue))
        try:
            while (outcome := await queue.get()) is not None:
                yield outcome
            await sender
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        if self._stop is not None:
            raise self._stop

    async def _send_all(
        self, requests: Iterable[Request[T]], queue: asyncio.Queue[AskOutcome[T] | None]
    ) -> None:
        live: set[asyncio.Task[None]] = set()
        # requests that wait before a retry hold no place of the limit, but they are bounded too
        room = asyncio.Semaphore(4 * self.limit.most)

        try:
            for request in requests:
                await room.acquire()
                since = await self.limit.acquire()
                if self._stop is not None:
                    self.limit.release()
                    break
                task = asyncio.create_task(self._complete(request, since, queue))
                live.add(task)
                task.add_done_callback(live.discard)
                task.add_done_callback(lambda _: room.release())
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

    async def _complete(
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
                    return  # never sent: it stays open
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
                wait = failure.retry_after
                if wait is not None and wait > self.settings.longest_wait_s:
                    message = f"{failure}; it asks to wait {wait:.0f} s, so resume later"
                    failure = EndpointUnusable(message)
                else:
                    self.limit.throttled(since, wait)
            else:
                failures += 1
            if self._final(failure, failures, throttles):
                break
            await asyncio.sleep(self._wait(failure, max(failures, throttles)))
            since = await self.limit.acquire()
        self._watch(failure)
        queue.put_nowait(AskOutcome(request, reply, failure, attempts, ended - begun))

    def _final(self, failure: RequestError, failures: int, throttles: int) -> bool:
        if not failure.retryable or self._stop is not None:
            return True
        if isinstance(failure, Unreachable) and not self._proven:
            return failures > 1  # the first request fails fast
        return failures > self.settings.retries or throttles >= self.settings.patience

    def _wait(self, failure: RequestError, times: int) -> float:
        if failure.retry_after is not None:
            return failure.retry_after * random.uniform(1.0, 1.1)  # noqa: S311
        longest = min(self.settings.backoff_s * 2.0 ** (times - 1), 15.0)
        return random.uniform(0.5, 1.0) * longest  # noqa: S311

    def _watch(self, failure: RequestError | None) -> None:
        if failure is None:
            self.answered = self._proven = True
            self._lost = self._failed = 0
            return
        hopeless, rejected = isinstance(failure, _HOPELESS), isinstance(failure, RequestRejected)
        self._failed = 0 if rejected and self.answered else self._failed + 1
        self._lost = self._lost + 1 if hopeless else 0
        if hopeless and (not self._proven or self._lost >= _LOST_IN_A_ROW):
            self._stop = self._stop or failure
        elif self._failed >= (_FAILED_IN_A_ROW if self._proven or rejected else _NEVER_ANSWERED):
            message = f"{self._failed} requests in a row got no answer, the last: {failure}"
            self._stop = self._stop or EndpointUnusable(message)


class PrivateLoop:
    """An event loop for synchronous callers, kept between calls so that connections stay open.

    Where a loop is running already (in a notebook), it runs in a thread. SIGTERM stops the work
    as Ctrl-C does.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine; KeyboardInterrupt follows once a signal has cancelled it."""
        try:
            return _outside_loops(lambda: self._runner.run(_stoppable(work)))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def close(self) -> None:
        """Closes the loop."""
        _outside_loops(self._runner.close)  # closing runs the loop once more


def _outside_loops(call: Callable[[], T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(call).result()
    return call()


async def _stoppable(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not ours or task is None:
        return await work
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
