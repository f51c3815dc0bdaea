"""How many requests may be under way: fewer when the endpoint asks for it, more again after."""

from __future__ import annotations

import asyncio
from collections import deque


class AdaptiveLimit:
    """A limit on requests at once that shrinks on throttling and grows with success.

    A throttled request cuts the limit to 60 %, at most once for all that were under way with
    it; each success wins back a quarter of a place. A wait that the endpoint asks for holds
    everybody back.

    Args:
        most: The limit where nothing is wrong; it is never exceeded.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open_at = 0.0
        self._cut_at = float("-inf")

    async def acquire(self) -> float:
        """Waits for a place; returns the loop's time at which it was given."""
        loop = asyncio.get_running_loop()
        if self._waiting or not self._free(loop.time()):
            place: asyncio.Future[None] = loop.create_future()
            self._waiting.append(place)
            self._wake()
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.release()
                raise
        else:
            self.active += 1
        return loop.time()

    def release(self) -> None:
        """Gives a place back."""
        self.active -= 1
        self._wake()

    def succeeded(self) -> None:
        """Grows the limit again after it was cut."""
        if self.limit < self.most:
            self.limit = min(float(self.most), self.limit + 0.25)
            self._wake()

    def throttled(self, since: float, wait: float | None) -> None:
        """Cuts the limit, unless the request began before the last cut.

        Args:
            since: When the throttled request got its place.
            wait: Seconds that the endpoint asks to wait, for everybody.
        """
        now = asyncio.get_running_loop().time()
        if since > self._cut_at:
            self._cut_at = now
            self.limit = max(1.0, self.limit * 0.6)
        if wait and now + wait > self._open_at:
            self._open_at = now + wait
            # a little late, so that no clock finds it too early
            asyncio.get_running_loop().call_at(self._open_at + 0.002, self._wake)

    def _free(self, now: float) -> bool:
        return self.active < int(self.limit) and now >= self._open_at

    def _wake(self) -> None:
        while self._waiting and self._free(self._waiting[0].get_loop().time()):
            place = self._waiting.popleft()
            if not place.done():
                self.active += 1
                place.set_result(None)
