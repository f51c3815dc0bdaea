"""The pace of one endpoint for workers on any machine: one keeper gives all of them their turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from flames.collect.pace import Ending, Pace
from flames.collect.pace_share import PaceShare
from flames.collect.rate import LearnedRate
from flames.collect.settings import AskSettings
from flames.models.base import ChatModel

_TIMEOUT_S = 600.0  # of models that tell none
_SPARE_S = 30.0  # beyond a request's timeout, before its worker is taken for dead


class PaceKeeper:
    """Keeps the paces of endpoints by name, in an event loop of its own.

    A turn that nobody gives back (its worker was killed) lapses after its lease.
    """

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}
        self._held: dict[str, tuple[Pace, float, asyncio.TimerHandle]] = {}
        self._waiting: dict[str, asyncio.Task[float]] = {}

    async def acquire(
        self, place: str, ticket: str, limits: dict[str, Any], lease_s: float, **how: Any
    ) -> None:
        """Waits for a turn; `ticket` is the caller's name for it, `limits` those of a new pace."""
        pace = self._paces.setdefault(place, Pace(**limits))
        turn = self._waiting[ticket] = asyncio.ensure_future(pace.acquire(**how))
        try:
            since = await turn
        finally:
            self._waiting.pop(ticket, None)
        lapse = asyncio.get_running_loop().call_later(lease_s, self._lapse, ticket)
        self._held[ticket] = (pace, since, lapse)

    async def end(self, ticket: str, ending: Ending, patience_s: float, **how: Any) -> None:
        """Gives a turn back, or gives up waiting for it."""
        if ticket in self._waiting:
            self._waiting[ticket].cancel()
        held = self._held.pop(ticket, None)
        if held is not None:
            pace, since, lapse = held
            lapse.cancel()
            deadline = asyncio.get_running_loop().time() + patience_s
            pace.end(since, ending, deadline=deadline, **how)

    def _lapse(self, ticket: str) -> None:
        pace, since, _ = self._held.pop(ticket)
        pace.end(since, "failed")


Call = Callable[..., Awaitable[None]]
"""Calls a method of the keeper by its name; the call is on its way before it is awaited."""


class RemotePace:
    """An endpoint's pace that a keeper in another process keeps."""

    def __init__(self, call: Call, place: str, limits: dict[str, Any], lease_s: float) -> None:
        self.rate = LearnedRate(limits["most"])
        self._call, self._place, self._limits, self._lease_s = call, place, limits, lease_s
        self._me, self._turns = uuid4().hex, 0

    async def acquire(self, tokens: float = 0.0, **how: Any) -> float:
        """Waits for a turn, as `Pace.acquire` does; what it returns is the turn's number."""
        self._turns += 1
        turn = float(self._turns)
        try:
            await self._call("acquire", self._place, self._ticket(turn), self._limits,
                             self._lease_s, tokens=tokens, **how)  # fmt: skip
        except asyncio.CancelledError:
            self.end(turn, "failed")
            raise
        return turn

    def end(self, since: float, ending: Ending, **how: Any) -> None:
        """Gives a turn back, as `Pace.end` does."""
        now = asyncio.get_running_loop().time()
        patience_s = how.pop("deadline", float("inf")) - now
        self._call("end", self._ticket(since), ending, patience_s, **how)

    def waits(self) -> float:
        """Returns 0: only the keeper knows."""
        return 0.0

    def _ticket(self, turn: float) -> str:
        return f"{self._me}-{turn:.0f}"


def kept_pace(call: Call, model: ChatModel, settings: AskSettings) -> PaceShare:
    """Returns a model's share of the pace that a keeper has for it."""
    settings = settings.under(getattr(model, "terms", {}))
    most = settings.concurrency or model.concurrency
    limits = {"most": most, "rpm": settings.rpm, "tpm": settings.tpm}
    place = f"{model.describe().get('base_url')} {model.name}"
    lease_s = getattr(model, "timeout", _TIMEOUT_S) + _SPARE_S
    return PaceShare(RemotePace(call, place, limits, lease_s))
