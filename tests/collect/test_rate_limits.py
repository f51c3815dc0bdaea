"""Rate limits and outages against endpoints on loopback, with hours of waiting in moments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import virtual_clock
from rate_limits import Allows, Endpoint, bucket, fixed, sliding

from flames.collect.engine import AskOutcome, Collector, Request
from flames.collect.settings import AskSettings
from flames.errors import FlamesError
from flames.models.base import EndpointUnusable, Message, RateLimited, Reply, TransientFailure
from flames.models.load import CallableModel
from flames.models.openai_client import OpenAIModel

Played = tuple[list[AskOutcome[int]], FlamesError | None, float]


def play(endpoint: Endpoint, count: int = 40, **settings: Any) -> Played:
    """The outcomes of so many requests, what stopped them, and the seconds that it took."""

    async def ask_all() -> Played:
        loop = asyncio.get_running_loop()
        async with endpoint.listening() as url:
            model = OpenAIModel("m", url)
            collector = Collector(model, settings=AskSettings(**settings))
            requests = [Request(n, (Message("user", f"问题{n}"),)) for n in range(count)]
            found: list[AskOutcome[int]] = []
            begun = loop.time()
            stopped: FlamesError | None = None
            try:
                async for outcome in collector.outcomes(requests):
                    found.append(outcome)  # noqa: PERF401
            except FlamesError as error:
                stopped = error
            took = loop.time() - begun
            await model.aclose()
            return found, stopped, took

    return virtual_clock.run(ask_all())


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """The client is loaded in a thread at first; the clock would jump while it is."""
    play(Endpoint(lambda _: True), 1)


@pytest.mark.parametrize("delay", [0.0, 0.2, 5.0])
@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("rate", [20, 10, 3])
def test_every_prompt_is_answered_with_few_requests(rate: int, kind: str, delay: float) -> None:
    allows: Allows = {
        "sliding": sliding(rate),
        "fixed": fixed(rate, phase=25.0),
        "bucket": bucket(rate, rate),
    }[kind]
    endpoint = Endpoint(allows, delay=delay)
    found, stopped, took = play(endpoint)
    assert stopped is None
    assert all(outcome.reply and outcome.reply.status == "ok" for outcome in found)
    assert len(found) == 40
    assert endpoint.asked <= 1.3 * 40, endpoint.asked
    assert took <= 1.1 * 40 / rate * 60


HINTS: dict[str, tuple[int, dict[str, str], object]] = {
    "retry-after": (429, {"retry-after": "20"}, {}),
    "milliseconds": (429, {"retry-after-ms": "20000"}, {}),
    "reset": (429, {"x-ratelimit-reset-requests": "20s"}, {}),
    "English": (429, {}, {"error": {"message": "Please try again in 20s."}}),
    "Chinese": (429, {}, {"error": {"message": "请求过于频繁，请20秒后重试"}}),
    "date": (
        429,
        {"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:20 GMT"},
        {},
    ),
    "overloaded": (503, {"retry-after": "20"}, {}),
    "in the body": (200, {"retry-after": "20"}, {"base_resp": {"status_code": 1002}}),
    "too short": (429, {}, {"error": {"message": "max RPM: 3, please try again after 1 seconds"}}),
}


@pytest.mark.parametrize("hint", HINTS)
def test_hints_are_obeyed(hint: str) -> None:
    endpoint = Endpoint(bucket(3, 3), lambda _: HINTS[hint])
    found, stopped, _ = play(endpoint, 12)
    assert stopped is None
    assert all(outcome.reply for outcome in found)
    assert endpoint.refused <= 8


class Allowing(CallableModel):
    """An endpoint without sockets."""

    def __init__(self, allows: Allows, delay: float) -> None:
        super().__init__(str)
        self.allows, self.delay, self.asked = allows, delay, 0

    async def ask(self, messages: Any, sampling: Any) -> Reply:
        self.asked += 1
        if not self.allows(asyncio.get_running_loop().time()):
            await asyncio.sleep(0.01)
            raise RateLimited("slow down")
        await asyncio.sleep(self.delay)
        return Reply("ok", text="好")


@pytest.mark.parametrize("kind", ["sliding", "fixed", "small bucket"])
def test_what_600_requests_a_minute_allow_is_used(kind: str) -> None:
    kinds = {"sliding": sliding(600), "fixed": fixed(600), "small bucket": bucket(600, 10)}
    model = Allowing(kinds[kind], 0.2)

    async def ask_all() -> float:
        collector = Collector(model, settings=AskSettings(concurrency=64))
        requests = [Request(n, (Message("user", "x"),)) for n in range(1300)]
        begun = asyncio.get_running_loop().time()
        found = [outcome async for outcome in collector.outcomes(requests)]
        assert len([o for o in found if o.reply]) == 1300
        return asyncio.get_running_loop().time() - begun

    assert virtual_clock.run(ask_all()) <= 1.03 * 130
    assert model.asked <= 1.2 * 1300


@pytest.mark.parametrize(("settings", "least"), [({"rpm": 30}, 37.9), ({"tpm": 600}, 30.0)])
def test_a_limit_set_by_hand_is_kept_without_rejections(
    settings: dict[str, float], least: float
) -> None:
    endpoint = Endpoint(sliding(30))
    found, stopped, took = play(endpoint, 20, **settings)
    assert stopped is None
    assert (len(found), endpoint.asked) == (20, 20)
    assert took >= least


@pytest.fixture(scope="module")
def quiet() -> float:
    """The seconds that 100 requests take where none is rejected."""
    return play(Endpoint(lambda _: True, delay=1.0), 100)[2]


def seconds_of_100(endpoint: Endpoint, rejected: int) -> float:
    """The seconds that 100 requests take; all are answered, and none but the rejected repeated."""
    found, stopped, took = play(endpoint, 100)
    assert stopped is None
    assert all(outcome.reply for outcome in found)
    assert endpoint.asked == 100 + rejected
    return took


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("place", [1, 2, 3, 8, 50])
def test_a_prompt_that_is_rejected_alone_slows_the_others_little(
    place: int, times: int, quiet: float
) -> None:
    endpoint = Endpoint(lambda _: True, delay=1.0, rejects={f"问题{place}": times})
    took = seconds_of_100(endpoint, times)
    assert took <= quiet + 4


@pytest.mark.parametrize(("times", "pauses"), [(1, 0.3), (2, 1.3), (3, 5.3), (4, 20.3)])
@pytest.mark.parametrize("place", [0, 99])
def test_a_prompt_with_nobody_beside_it_waits_little(
    place: int, times: int, pauses: float, quiet: float
) -> None:
    endpoint = Endpoint(lambda _: True, delay=1.0, rejects={f"问题{place}": times})
    took = seconds_of_100(endpoint, times)
    assert took <= quiet + pauses + 1


@pytest.mark.parametrize("wait", [1, 5, 20])
@pytest.mark.parametrize(("place", "times"), [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (3, 1)])
def test_a_wait_that_is_asked_for_early_says_nothing_of_a_limit(
    place: int, times: int, wait: int, quiet: float
) -> None:
    endpoint = Endpoint(
        lambda _: True,
        lambda _: (429, {"retry-after": str(wait)}, {}),
        delay=1.0,
        rejects={f"问题{place}": times},
    )
    took = seconds_of_100(endpoint, times)
    waits = [max(wait, pause) for pause in (0.3, 1.0, 4.0)][:times]
    assert sum(waits) < took <= quiet + sum(waits) + 3.5


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize(("rate", "best"), [(60, 6), (20, 60), (10, 180)])
def test_a_limit_that_is_used_up_at_first_is_found_later(kind: str, rate: int, best: int) -> None:
    allows = {"sliding": sliding(rate), "fixed": fixed(rate), "bucket": bucket(rate, rate)}[kind]
    while allows(0.0):
        pass
    endpoint = Endpoint(allows, delay=1.0)
    found, stopped, took = play(endpoint, 40)
    assert stopped is None
    assert all(outcome.reply for outcome in found)
    assert endpoint.refused <= 12
    assert took <= 1.1 * (60 + best)


def test_a_limit_behind_an_endpoint_that_rejects_all_at_first_is_found_later() -> None:
    allows = sliding(60)
    endpoint = Endpoint(lambda now: now >= 10 and allows(now), delay=1.0)
    found, stopped, took = play(endpoint, 150)
    assert stopped is None
    assert all(outcome.reply for outcome in found)
    assert endpoint.refused <= 12
    assert took <= 1.05 * (20.3 + 120)


@pytest.mark.parametrize("every", [100, 20])
def test_a_few_rejected_prompts_among_many_slow_nobody(every: int) -> None:
    rejects = {f"问题{n}": 1 for n in range(10, 300, every)}
    _, _, quiet = play(Endpoint(lambda _: True, delay=1.0), 300)
    found, stopped, took = play(Endpoint(lambda _: True, delay=1.0, rejects=rejects), 300)
    assert stopped is None
    assert all(outcome.reply for outcome in found)
    assert took <= 1.1 * quiet + 2


def test_a_limit_by_the_minute_is_not_halved_by_prompts_rejected_alone() -> None:
    allows = sliding(100)
    rejected = {str(n) for n in range(160, 500, 50)}

    class Choosy(Allowing):
        async def ask(self, messages: Any, sampling: Any) -> Reply:
            text = messages[-1].content
            self.allows = allows
            if text in rejected:
                rejected.remove(text)
                self.allows = lambda _: False
            return await super().ask(messages, sampling)

    model = Choosy(allows, 1.0)

    async def ask_all() -> float:
        collector = Collector(model, settings=AskSettings(concurrency=16))
        requests = [Request(n, (Message("user", str(n)),)) for n in range(500)]
        begun = asyncio.get_running_loop().time()
        found = [outcome async for outcome in collector.outcomes(requests)]
        assert len([o for o in found if o.reply]) == 500
        return asyncio.get_running_loop().time() - begun

    assert virtual_clock.run(ask_all()) <= 1.2 * (500 - 100) / 100 * 60
    assert model.asked <= 1.1 * 500


def test_a_prompt_that_is_always_rejected_keeps_no_other_from_its_answer() -> None:
    endpoint = Endpoint(lambda _: True, delay=1.0, rejects={"问题50": 10**9})
    found, stopped, took = play(endpoint, 100, patience=300)
    assert isinstance(stopped, EndpointUnusable)
    assert sum(outcome.reply is not None for outcome in found) == 99
    assert 300 < took < 330
    assert endpoint.asked < 130


def test_an_endpoint_that_never_allows_anything_is_given_up_in_time() -> None:
    endpoint = Endpoint(lambda _: False)
    found, stopped, took = play(endpoint, 40, patience=300)
    assert isinstance(stopped, EndpointUnusable)
    assert "nothing was answered for 300 s (--patience)" in str(stopped)
    assert 299 < took < 310
    assert endpoint.asked < 15
    assert [type(outcome.failure) for outcome in found] == [RateLimited]


def test_a_wait_beyond_patience_ends_it_at_once() -> None:
    endpoint = Endpoint(sliding(3), lambda _: (429, {"retry-after": "3600"}, {}))
    found, stopped, took = play(endpoint, 40)
    assert isinstance(stopped, EndpointUnusable)
    assert "asks to wait 3600 s" in str(stopped)
    assert took < 5
    assert sum(outcome.reply is not None for outcome in found) == 3


def down(start: float, end: float) -> Allows:
    return lambda now: not start <= now < end


def broken(_: float) -> tuple[int, dict[str, str], object]:
    return 502, {}, {"error": {"message": "Bad Gateway"}}


def test_an_outage_of_minutes_loses_nothing() -> None:
    endpoint = Endpoint(down(10, 310), broken, delay=2.0)
    found, stopped, took = play(endpoint, 200)
    assert stopped is None
    assert all(outcome.reply for outcome in found)
    assert endpoint.refused < 250
    assert took < 420


def test_an_outage_without_end_is_given_up_in_time() -> None:
    endpoint = Endpoint(down(10, 10**9), broken, delay=2.0)
    found, stopped, took = play(endpoint, 2000)
    assert isinstance(stopped, EndpointUnusable)
    assert 600 < took < 700
    assert endpoint.refused < 250
    assert len([o for o in found if o.reply]) > 50


def test_one_bad_prompt_among_good_ones_holds_up_nobody() -> None:
    endpoint = Endpoint(lambda _: True, delay=1.0)

    async def ask_all() -> list[AskOutcome[int]]:
        async with endpoint.listening() as url:
            model = OpenAIModel("m", url)
            asked = model.ask

            async def ask(messages: Any, sampling: Any) -> Any:
                if messages[-1].content == "坏":
                    raise TransientFailure("HTTP 500")
                return await asked(messages, sampling)

            model.ask = ask  # type: ignore[method-assign]
            collector = Collector(model)
            texts = ["好"] * 39 + ["坏"]
            requests = [Request(n, (Message("user", text),)) for n, text in enumerate(texts)]
            begun = asyncio.get_running_loop().time()
            found = [outcome async for outcome in collector.outcomes(requests)]
            assert asyncio.get_running_loop().time() - begun < 40
            await model.aclose()
            return found

    found = virtual_clock.run(ask_all())
    [bad] = [outcome for outcome in found if outcome.failure]
    assert (bad.request.tag, bad.attempts) == (39, 5)


def test_prompts_that_always_fail_do_not_make_the_others_wait() -> None:
    class Picky(CallableModel):
        async def ask(self, messages: Any, sampling: Any) -> Reply:
            await asyncio.sleep(0.1)
            if messages[-1].content in bad:
                raise TransientFailure("HTTP 500")
            return Reply("ok", text="好")

    async def ask_all(texts: list[str]) -> tuple[list[AskOutcome[int]], float]:
        collector = Collector(Picky(str), settings=AskSettings(concurrency=16))
        requests = [Request(n, (Message("user", text),)) for n, text in enumerate(texts)]
        begun = asyncio.get_running_loop().time()
        found = [outcome async for outcome in collector.outcomes(requests)]
        return found, asyncio.get_running_loop().time() - begun

    bad = {f"坏{n}" for n in range(12)}
    good = [f"好{n}" for n in range(60)]
    found, took = virtual_clock.run(ask_all([good[0], *sorted(bad), *good[1:]]))
    assert {o.attempts for o in found if o.failure} == {5}
    assert sum(o.reply is not None for o in found) == 60
    assert took < 120


def test_after_an_outage_a_prompt_that_always_fails_holds_up_nobody() -> None:
    class Recovering(CallableModel):
        async def ask(self, messages: Any, sampling: Any) -> Reply:
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(0.1)
            if messages[-1].content == "坏" or outage(now):
                raise TransientFailure("HTTP 502")
            return Reply("ok", text="好")

    begun = 0.0

    def outage(now: float) -> bool:
        return 0.3 <= now - begun < 40

    async def ask_all() -> tuple[list[AskOutcome[int]], float]:
        nonlocal begun
        begun = asyncio.get_running_loop().time()
        collector = Collector(Recovering(str), settings=AskSettings(concurrency=16))
        texts = ["好"] * 10 + ["坏"] + ["好"] * 60
        requests = [Request(n, (Message("user", text),)) for n, text in enumerate(texts)]
        found = [outcome async for outcome in collector.outcomes(requests)]
        return found, asyncio.get_running_loop().time() - begun

    found, took = virtual_clock.run(ask_all())
    assert [o.request.tag for o in found if o.failure] == [10]
    assert took < 200
