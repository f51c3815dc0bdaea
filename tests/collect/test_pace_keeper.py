"""One pace for workers in other processes: turns come from a keeper and lapse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
import virtual_clock

from flames.collect.pace import PaceClosed
from flames.collect.pace_keeper import PaceKeeper, RemotePace
from flames.collect.pace_share import PaceShare

LIMITS = {"most": 2, "rpm": None, "tpm": None}


def worker(keeper: PaceKeeper, limits: dict[str, Any] = LIMITS) -> PaceShare:
    def call(name: str, *given: Any, **how: Any) -> Awaitable[None]:
        return asyncio.ensure_future(getattr(keeper, name)(*given, **how))

    return PaceShare(RemotePace(call, "place", dict(limits), lease_s=60.0))


async def settled(work: asyncio.Future[Any]) -> bool:
    for _ in range(20):
        await asyncio.sleep(0)
    return work.done()


def test_workers_have_one_limit_together() -> None:
    async def work() -> None:
        keeper = PaceKeeper()
        first, second = worker(keeper), worker(keeper)
        turn = await first.acquire()
        await second.acquire()
        third = asyncio.ensure_future(second.acquire())
        assert not await settled(third)
        first.end(turn, "answered", deadline=1e9)
        await third

    virtual_clock.run(work())


def test_requests_a_minute_hold_for_all_workers() -> None:
    async def work() -> float:
        keeper, loop = PaceKeeper(), asyncio.get_running_loop()
        both = [worker(keeper, {**LIMITS, "rpm": 60.0}) for _ in range(2)]
        begun = loop.time()
        for number in range(11):
            turn = await both[number % 2].acquire()
            both[number % 2].end(turn, "answered", deadline=loop.time() + 9)
        return loop.time() - begun

    assert 10 <= virtual_clock.run(work()) < 10.5


def test_the_turns_of_a_killed_worker_lapse() -> None:
    async def work() -> float:
        keeper, loop = PaceKeeper(), asyncio.get_running_loop()
        killed, living = worker(keeper), worker(keeper)
        begun = loop.time()
        await killed.acquire()
        await killed.acquire()
        await living.acquire()
        return loop.time() - begun

    assert 60 <= virtual_clock.run(work()) < 61


def test_a_worker_that_gives_up_leaves_its_place_in_the_queue() -> None:
    async def work() -> None:
        keeper = PaceKeeper()
        ours, theirs = worker(keeper), worker(keeper)
        turns = [await ours.acquire(), await ours.acquire()]
        waiting = asyncio.ensure_future(ours.acquire())
        other = asyncio.ensure_future(theirs.acquire())
        assert not await settled(waiting)
        ours.close()
        with pytest.raises(PaceClosed):
            await waiting
        ours.end(turns[0], "answered", deadline=1e9)
        await other
        last = asyncio.ensure_future(theirs.acquire())
        ours.end(turns[1], "failed", deadline=1e9)
        await last

    virtual_clock.run(work())
