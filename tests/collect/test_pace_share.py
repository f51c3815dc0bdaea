"""Several collectors at one address: one pace, and each gives up alone."""

from __future__ import annotations

import asyncio

import pytest
import virtual_clock

from flames.collect.pace import Pace, PaceClosed
from flames.collect.pace_share import PaceShare


def test_one_limit_holds_for_all_shares() -> None:
    async def work() -> None:
        pace = Pace(2)
        first, second = PaceShare(pace), PaceShare(pace)
        begun = [await first.acquire(), await second.acquire()]
        third = asyncio.ensure_future(second.acquire())
        await asyncio.sleep(1)
        assert not third.done()
        first.end(begun[0], "answered")
        await third
        assert (first.active, second.active, pace.active) == (0, 2, 2)

    virtual_clock.run(work())


def test_a_share_that_is_closed_ends_its_own_waiting_only() -> None:
    async def work() -> None:
        pace = Pace(1)
        first, second = PaceShare(pace), PaceShare(pace)
        begun = await first.acquire()
        ours = [asyncio.ensure_future(first.acquire()) for _ in range(3)]
        theirs = asyncio.ensure_future(second.acquire())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.close()
        for each in ours:
            with pytest.raises(PaceClosed):
                await each
        assert not theirs.done()
        first.end(begun, "failed")
        second.end(await theirs, "answered")
        assert pace.active == 0

    virtual_clock.run(work())


def test_a_request_that_is_cancelled_frees_its_place() -> None:
    async def work() -> None:
        pace = Pace(1)
        share = PaceShare(pace)
        begun = await share.acquire()
        waiting = asyncio.ensure_future(share.acquire())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        share.end(begun, "answered")
        share.end(await share.acquire(), "answered")
        assert (share.active, pace.active) == (0, 0)

    virtual_clock.run(work())
