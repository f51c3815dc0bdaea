"""Asks for many runs at once: those at one address share its limit, all of them one budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from flames.collect.ask import Asking, AskState
from flames.collect.engine import PrivateLoop
from flames.collect.pace import Pace
from flames.collect.pace_share import PaceShare
from flames.collect.settings import AskSettings
from flames.errors import OutsideError
from flames.models.base import ChatModel

HERE = "this machine"
"""The place of models without an address; they are asked one after another."""

Told = Callable[["Lane", Asking, AskState], None]
"""Called with the state of a run after each of its responses."""


def place_of(model: ChatModel) -> str:
    """Returns the address where a model is asked; `HERE` for one in this process."""
    return str(model.describe().get("base_url") or HERE)


class Paces:
    """One pace for each place, by the lowest limits that its models were given."""

    def __init__(self, models: Iterable[tuple[str, ChatModel, AskSettings]]) -> None:
        at: dict[str, list[tuple[ChatModel, AskSettings]]] = {}
        for place, model, settings in models:
            at.setdefault(place, []).append((model, settings))
        self._paces = {place: _pace(those) for place, those in at.items()}

    def share(self, place: str) -> PaceShare:
        """Returns a share of a place's pace."""
        return PaceShare(self._paces[place])


def _pace(models: Sequence[tuple[ChatModel, AskSettings]]) -> Pace:
    settings = [each for _, each in models]
    most = min(
        (each.concurrency for each in settings if each.concurrency is not None),
        default=min(model.concurrency for model, _ in models),
    )
    rpm = min((each.rpm for each in settings if each.rpm is not None), default=None)
    tpm = min((each.tpm for each in settings if each.tpm is not None), default=None)
    return Pace(most, rpm=rpm, tpm=tpm)


@dataclass
class Lane:
    """The opened runs of one model, and where it is asked."""

    name: str
    place: str
    runs: list[Asking] = field(default_factory=list)
    stopped: OutsideError | None = None


def ask_together(lanes: Sequence[Lane], told: Told) -> None:
    """Asks what the runs of all lanes lack.

    The runs of a lane are asked one after another, and what stops one ends the lane, which then
    says so. Lanes do not stop each other.
    """
    loop = PrivateLoop()
    try:
        loop.run(_all(lanes, told))
    finally:
        loop.close()


async def _all(lanes: Sequence[Lane], told: Told) -> None:
    here = asyncio.Lock()

    async def ask(lane: Lane) -> None:
        try:
            async with here if lane.place == HERE else nullcontext():
                for asking in lane.runs:
                    await asking.answered(partial(told, lane, asking))
        except OutsideError as error:
            lane.stopped = error

    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(ask(lane))
