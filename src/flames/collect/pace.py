"""Gives each request to an endpoint its turn: one pause, one limit for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, NamedTuple

from flames.collect.rate import LearnedRate


class PaceClosed(Exception):
    """No further request may be sent."""


Ending = Literal["answered", "slow down", "failed", "down"]


class _Waiting(NamedTuple):
    turn: asyncio.Future[float]
    tokens: float
    failures: int


class Pace:
    """Holds requests back until an endpoint may be sent another one.

    Args:
        most: Maximum number of requests at once.
        rpm: Requests a minute that the user allows; they are spaced evenly.
        tpm: Tokens a minute that the user allows.
    """

    def __init__(self, most: int, *, rpm: float | None = None, tpm: float | None = None) -> None:
        self.rate = LearnedRate(most)
        self.active = 0
        self._space = 60.0 / rpm if rpm else 0.0
        self._per_token = 60.0 / tpm if tpm else 0.0
        self._turn_at = self._tokens_at = 0.0
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(
        self, tokens: float = 0.0, *, first: bool = False, failures: int = 0
    ) -> float:
        """Waits for a turn and returns the loop's time then, by which `end` knows the request.

        Args:
            tokens: What the request will use, as far as one can tell.
            first: Whether it goes before all that wait.
            failures: How often it failed or was rejected.
        """
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(turn, tokens, failures)
        (self._waiting.appendleft if first else self._waiting.append)(waiting)
        self._wake()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.end(turn.result(), "failed")
            raise

    def end(
        self,
        since: float,
        ending: Ending,
        *,
        wait: float | None = None,
        deadline: float = float("inf"),
        more_tokens: float = 0.0,
    ) -> None:
        """Frees a place and learns from how the request ended.

        Args:
            since: What `acquire` returned.
            ending: How it ended; `down` means that nothing is answered any more.
            wait: The seconds that the endpoint asks to wait.
            deadline: When patience ends.
            more_tokens: By how much it used more tokens than was thought.
        """
        now = asyncio.get_running_loop().time()
        self.active -= 1
        self._tokens_at += more_tokens * self._per_token
        if ending == "answered":
            self.rate.answered(since, now)
        elif ending == "slow down":
            self.rate.rejected(since, now, self.active, wait, deadline)
        else:
            self.rate.failed(since, now, deadline, down=ending == "down")
        self._wake()

    def close(self) -> None:
        """Ends the waiting of all: each `acquire` raises `PaceClosed`."""
        while self._waiting:
            turn = self._waiting.popleft().turn
            if not turn.done():
                turn.set_exception(PaceClosed())

    def waits(self) -> float:
        """Returns the seconds until the next request may be sent, as far as time decides."""
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0  # nobody asks
        return max(0.0, self._next_at(now) - now)

    def _next_at(self, now: float) -> float:
        return max(self.rate.next_at(now), self._turn_at, self._tokens_at)

    def _following(self) -> _Waiting:
        """Returns the request whose turn is next.

        Where one alone tries whether anything is answered again, it is the one that failed least
        often: a request that always fails, or is always rejected, would tell nothing.
        """
        if self.rate.closed:
            return min(self._waiting, key=lambda waiting: waiting.failures)
        return self._waiting[0]

    def _wake(self) -> None:
        while self._waiting and self.rate.free(self.active):
            following = self._following()
            turn, tokens, _ = following
            if turn.done():
                self._waiting.remove(following)
                continue
            loop = turn.get_loop()
            now = loop.time()
            at = self._next_at(now)
            if at > now:
                if self._timer is not None:
                    self._timer.cancel()
                # a little late, so that no clock finds it too early
                self._timer = loop.call_at(at + 0.0005, self._wake)
                return
            self._waiting.remove(following)
            self.active += 1
            self.rate.sent(now)
            # where the turn was only just missed, the turns stay as they are
            missed = now - self._turn_at
            self._turn_at = (self._turn_at if missed < self._space else now) + self._space
            self._tokens_at = max(now, self._tokens_at) + tokens * self._per_token
            turn.set_result(now)
