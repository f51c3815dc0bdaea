"""The pace of one endpoint for several collectors, each of which may give up alone."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from flames.collect.pace import Ending, Pace, PaceClosed
from flames.collect.rate import LearnedRate


class Turns(Protocol):
    """Whatever gives requests their turns: a pace, here or in another process."""

    rate: LearnedRate

    async def acquire(self, tokens: float = 0.0, **how: Any) -> float:
        """Waits for a turn."""

    def end(self, since: float, ending: Ending, **how: Any) -> None:
        """Frees a place."""

    def waits(self) -> float:
        """Returns the seconds until the next turn, as far as time decides."""


class PaceShare:
    """One collector's share of a pace: closing it ends the waiting of this one only."""

    def __init__(self, pace: Pace | Turns) -> None:
        self._pace = pace
        self._waiting: set[asyncio.Task[float]] = set()
        self._closed: set[asyncio.Task[float]] = set()
        self.active = 0

    @property
    def rate(self) -> LearnedRate:
        """What the endpoint seems to allow all of them together."""
        return self._pace.rate

    async def acquire(self, tokens: float = 0.0, **how: Any) -> float:
        """Waits for a turn, as `Pace.acquire` does."""
        turn = asyncio.ensure_future(self._pace.acquire(tokens, **how))
        self._waiting.add(turn)
        try:
            since = await turn
        except asyncio.CancelledError:
            if turn in self._closed:
                raise PaceClosed from None
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pace.end(turn.result(), "failed")
            raise
        finally:
            self._waiting.discard(turn)
            self._closed.discard(turn)
        self.active += 1
        return since

    def end(self, since: float, ending: Ending, **how: Any) -> None:
        """Frees a place and learns from how the request ended, as `Pace.end` does."""
        self.active -= 1
        self._pace.end(since, ending, **how)

    def close(self) -> None:
        """Ends the waiting of this collector's requests."""
        for turn in self._waiting:
            if turn.cancel():
                self._closed.add(turn)

    def waits(self) -> float:
        """Returns the seconds until the next request may be sent, as far as time decides."""
        return self._pace.waits()
