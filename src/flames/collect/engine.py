"""Sends many requests to one model, for collecting and judging; knows when to give up."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import length_hint
from typing import Any, Generic, TypeVar

from flames.collect.limits import Budget, Meter, tokens_of_messages, used
from flames.collect.pace import Ending, Pace, PaceClosed
from flames.collect.pace_share import PaceShare
from flames.collect.patience import Patience, Tries
from flames.collect.settings import AskSettings
from flames.errors import FlamesError
from flames.models.base import (
    ChatModel,
    Message,
    RateLimited,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
)

T = TypeVar("T")


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


class Collector:
    """Sends many requests to one model.

    The first request goes alone: an endpoint that cannot be used at all (wrong key, unknown model,
    no connection) is reported at once. Later on, it is given up when several requests in a row
    end that way, or many in any other, or when it answered nothing as long as patience lasts.

    Args:
        sampling: Sampling parameters; the model's defaults complete them.
        sending: Called before each request, retries included. What it raises ends the asking.
        pace: The pace of its endpoint, where others ask there as well; its own unless given.
        budgets: Budgets that it has in common with others.

    Attributes:
        on_pause: Called when requests are held back.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        sampling: Sampling | None = None,
        settings: AskSettings | None = None,
        sending: Callable[[], None] | None = None,
        pace: Pace | PaceShare | None = None,
        budgets: tuple[Budget, ...] = (),
    ) -> None:
        self.model = model
        self.settings = (settings or AskSettings()).under(getattr(model, "terms", {}))
        self.sampling = (sampling or Sampling()).over(model.defaults)
        own = Budget(self.settings.max_requests, self.settings.max_cost)
        self.meter = Meter(self.settings.prices, (own, *budgets), self.sampling.max_tokens)
        most = self.settings.concurrency or model.concurrency
        self.pace = pace or Pace(most, rpm=self.settings.rpm, tpm=self.settings.tpm)
        self.patience = Patience(self.settings, most)
        self.on_pause: Callable[[], None] = lambda: None
        self._sending = sending
        self._tried = False

    async def outcomes(
        self, requests: Iterable[Request[T]], expected: int | None = None
    ) -> AsyncGenerator[AskOutcome[T], None]:
        """Yields the outcomes of all requests as they come, in no particular order.

        Use `contextlib.aclosing` where the loop may be left early: it cancels pending requests.

        Args:
            requests: The requests.
            expected: About how many, where `requests` has no length.

        Raises:
            EndpointUnusable, Unreachable, BudgetSpent: Asking ended; some requests were not sent.
        """
        queue: asyncio.Queue[AskOutcome[T] | None] = asyncio.Queue()
        self.patience.begin(asyncio.get_running_loop().time())
        self.pace.rate.begin(length_hint(requests) if expected is None else expected)
        sender = asyncio.create_task(self._send_all(requests, queue))
        try:
            while (outcome := await queue.get()) is not None:
                yield outcome
            await sender
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        if self.patience.stop is not None:
            raise self.patience.stop

    async def _send_all(
        self, requests: Iterable[Request[T]], queue: asyncio.Queue[AskOutcome[T] | None]
    ) -> None:
        live: set[asyncio.Task[None]] = set()
        # requests that wait before a retry hold no place of the limit, but they are bounded too
        room = asyncio.Semaphore(4 * self.pace.rate.most)

        try:
            for request in requests:
                await room.acquire()
                if self.patience.stop is not None:
                    break
                task = asyncio.create_task(self._complete(request, queue))
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
        self, request: Request[T], queue: asyncio.Queue[AskOutcome[T] | None]
    ) -> None:
        loop, tries = asyncio.get_running_loop(), Tries()
        failure: RequestError | None = None
        reply: Reply | None = None
        attempts, latency_s = 0, 0.0
        while True:
            try:
                since = await self.pace.acquire(
                    self._tokens(request),
                    first=attempts > 0 and not isinstance(failure, RateLimited),
                    failures=tries.failures + tries.rejections,
                )
                begun = loop.time()
                reply, failure = await self._attempt(request, tries, since)
            except PaceClosed:
                if failure is None:
                    return  # never sent: it stays open
                break
            except FlamesError as error:  # the budget is spent, or nothing can be written
                self._stop(error)
                if failure is None:
                    return
                break
            attempts, latency_s = attempts + 1, loop.time() - begun
            if failure is None or self.patience.final(failure, tries, loop.time()):
                break
            if not isinstance(failure, RateLimited):
                await asyncio.sleep(self._wait(failure, tries.failures))
        self.patience.ended(failure, tries, loop.time())
        if self.patience.stop is not None:
            self.pace.close()
        queue.put_nowait(AskOutcome(request, reply, failure, attempts, latency_s))

    async def _attempt(
        self, request: Request[T], tries: Tries, since: float
    ) -> tuple[Reply | None, RequestError | None]:
        """Sends a request once; raises what is to end the asking."""
        loop = asyncio.get_running_loop()
        ending: Ending = "failed"
        reply: Reply | None = None
        failure: RequestError | None = None
        held: float | None = None
        try:
            if self.patience.stop is not None:
                raise PaceClosed
            held = self.meter.hold(request.messages)
            if self._sending is not None:
                self._sending()
            reply = await self.model.ask(request.messages, request.sampling or self.sampling)
            ending = "answered"
        except RequestError as error:
            failure = self.patience.understood(error)
        except (FlamesError, PaceClosed):
            raise
        except Exception as error:
            failure = RequestRejected(f"{type(error).__name__}: {error}")
        finally:
            if failure is not None:
                ending = self._ending(failure, tries, loop.time())
            if held is not None:
                self.meter.settle(held, request.messages, reply)
            self.pace.end(
                since,
                ending,
                wait=failure.retry_after if failure else None,
                deadline=self.patience.deadline,
                more_tokens=self._more_tokens(request, reply),
            )
        if ending in ("slow down", "down"):
            self.on_pause()
        return reply, failure

    def _ending(self, failure: RequestError, tries: Tries, now: float) -> Ending:
        if isinstance(failure, RateLimited):
            tries.rejections += 1
            return "slow down"
        tries.failed(now, self.patience.answers)
        return "down" if self.patience.down(failure, tries) else "failed"

    def _tokens(self, request: Request[T]) -> float:
        if self.settings.tpm is None:
            return 0.0
        return tokens_of_messages(request.messages) + self.meter.expected_answer()

    def _more_tokens(self, request: Request[T], reply: Reply | None) -> float:
        if self.settings.tpm is None or reply is None:
            return 0.0
        return sum(used(reply, request.messages)) - self._tokens(request)

    def _stop(self, why: FlamesError) -> None:
        self.patience.stop = self.patience.stop or why
        self.pace.close()

    def _wait(self, failure: RequestError, times: int) -> float:
        if failure.retry_after is not None:
            return failure.retry_after * random.uniform(1.0, 1.1)  # noqa: S311
        longest = min(self.settings.backoff_s * 2.0 ** (times - 1), 15.0)
        return random.uniform(0.5, 1.0) * longest  # noqa: S311


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
