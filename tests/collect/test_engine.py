"""The engine: concurrency, retries, budgets, giving up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import virtual_clock
from hypothesis import given
from hypothesis import strategies as st

from flames.collect.ask import Asking, prepare
from flames.collect.engine import AskOutcome, Collector, PrivateLoop, Request
from flames.collect.limits import BudgetSpent, Prices, estimate_cost, tokens_of
from flames.collect.plan import Plan
from flames.collect.settings import AskSettings
from flames.errors import FlamesError, UsageError
from flames.models.base import (
    EndpointUnusable,
    Message,
    RateLimited,
    Reply,
    RequestRejected,
    Sampling,
    TransientFailure,
    Unreachable,
    Usage,
)
from flames.models.load import CallableModel
from flames.prompts.sets import load_prompts

FAST = AskSettings(concurrency=4, backoff_s=0.001)


class Here(CallableModel):
    """A function that is called in the loop, so that the clock may be virtual."""

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        await asyncio.sleep(0)
        answer = self.function(messages[-1].content)
        return answer if isinstance(answer, Reply) else Reply("ok", text=answer)


def requests(count: int) -> Iterator[Request[int]]:
    return (Request(n, (Message("user", str(n)),)) for n in range(count))


def collect(
    answer: Callable[[str], Any], count: int, settings: AskSettings = FAST
) -> tuple[dict[int, AskOutcome[int]], FlamesError | None, Collector]:
    """Outcomes by number, what stopped it, and the collector."""

    collector = Collector(Here(answer), settings=settings)
    found: dict[int, AskOutcome[int]] = {}

    async def gather() -> None:
        async for outcome in collector.outcomes(requests(count)):
            assert outcome.request.tag not in found
            found[outcome.request.tag] = outcome

    try:
        virtual_clock.run(gather())
    except FlamesError as error:
        return found, error, collector
    return found, None, collector


class Failing:
    """Answers after failing so often in that way."""

    def __init__(self, failures: dict[str, list[Exception]]) -> None:
        self.failures = failures
        self.asked: Counter[str] = Counter()

    def __call__(self, prompt: str) -> str:
        self.asked[prompt] += 1
        left = self.failures.get(prompt, [])
        if left:
            raise left.pop(0)
        return "好"


def test_everything_is_asked_once_and_answered() -> None:
    model = Failing({})
    found, stopped, collector = collect(model, 50)
    assert stopped is None
    assert set(found) == set(range(50))
    assert set(model.asked.values()) == {1}
    assert collector.meter.requests == 50
    assert all(o.reply and o.reply.text == "好" and o.attempts == 1 for o in found.values())


def test_what_may_pass_is_tried_again_and_the_rest_is_not() -> None:
    model = Failing(
        {
            "1": [TransientFailure("x")] * 4,
            "2": [TransientFailure("x")] * 5,
            "3": [RequestRejected("no")],
            "4": [RateLimited("slow", retry_after=0.001)] * 7,
            "5": [RateLimited("slow")] * 12,
            "6": [ZeroDivisionError("bug")],
            "7": [Unreachable("x")] * 2,
        }
    )
    found, stopped, _ = collect(model, 10)
    assert stopped is None
    assert {n: o.attempts for n, o in found.items() if o.attempts > 1} == {
        1: 5,
        2: 5,
        4: 8,
        5: 13,
        7: 3,
    }
    failed = {n: type(o.failure) for n, o in found.items() if o.failure}
    assert failed == {2: TransientFailure, 3: RequestRejected, 6: RequestRejected}


@pytest.mark.parametrize("failure", [EndpointUnusable("wrong key"), Unreachable("nobody")])
def test_the_first_request_fails_fast_and_alone(failure: Exception) -> None:
    model = Failing({str(n): [failure] * 9 for n in range(10)})
    found, stopped, collector = collect(model, 10)
    assert stopped is failure
    assert set(found) == {0}
    assert set(model.asked) == {"0"}
    assert collector.meter.requests <= 2


def test_the_endpoint_is_given_up_when_it_goes_away_in_between() -> None:
    gone = Failing({str(n): [EndpointUnusable("key revoked")] * 9 for n in range(20, 100)})
    found, stopped, _ = collect(gone, 100)
    assert isinstance(stopped, EndpointUnusable)
    assert all(found[n].reply for n in range(20))
    assert len(gone.asked) < 40
    one = Failing({"20": [EndpointUnusable("odd")]})
    found, stopped, _ = collect(one, 40)
    assert stopped is None
    assert [n for n, o in found.items() if o.failure] == [20]


@pytest.mark.parametrize(
    ("answered", "failure", "most"),
    [(0, TransientFailure("HTTP 500"), 20), (0, RequestRejected("no"), 20)],
)
def test_an_endpoint_that_never_answers_is_not_asked_everything(
    answered: int, failure: Exception, most: int
) -> None:
    model = Failing({str(n): [failure] * 9 for n in range(answered, 300)})
    settings = AskSettings(concurrency=4, backoff_s=0.0001, retries=1)
    found, stopped, _ = collect(model, 300, settings)
    assert isinstance(stopped, EndpointUnusable)
    assert f"requests all failed alike: {failure}" in str(stopped)
    assert len(model.asked) <= answered + most
    assert all(outcome.failure for n, outcome in found.items() if n >= answered)


def test_early_requests_that_fail_differently_are_no_reason_to_stop_early() -> None:
    words = ("too long", "no such tool")
    settings = AskSettings(concurrency=4, backoff_s=0.0001)
    odd = Failing({str(n): [RequestRejected(words[n % 2])] for n in range(90)})
    found, stopped, _ = collect(odd, 200, settings)
    assert stopped is None
    assert sum(outcome.reply is not None for outcome in found.values()) == 110
    numbered = {
        str(n): [RequestRejected(f"HTTP 400: bad (request req_{n:08x}a)")] for n in range(90)
    }
    found, stopped, _ = collect(Failing(numbered), 200, settings)
    assert "the first 5 requests all failed alike: HTTP 400: bad (request req_0000000" in str(
        stopped
    )
    assert len(found) < 20


def test_prompts_that_an_endpoint_refuses_do_not_make_it_useless() -> None:
    refused = {str(n): [RequestRejected("too long")] for n in range(1, 300)}
    found, stopped, _ = collect(Failing(refused), 300)
    assert stopped is None
    assert len(found) == 300


def test_prompts_that_were_refused_before_do_not_end_a_resumed_run(tmp_path: Path) -> None:
    prompts = load_prompts("open")
    refused = {prompt.text for prompt in prompts.prompts[1:200]}

    def answer(text: str) -> str:
        if text in refused:
            raise RequestRejected("HTTP 400: too long")
        return "好"

    plan = Plan(CallableModel(answer), prompts)
    for budget, ok, error in ((180, 1, 179), (None, 41, 199)):
        run = prepare(plan, tmp_path / "run", resume=True)
        with Asking(plan, run, AskSettings(max_requests=budget)) as asking:
            with contextlib.suppress(BudgetSpent):
                asking.ask()
            assert asking.state.counts == {"ok": ok, "error": error}


def test_a_request_that_failed_at_once_is_not_taken_for_one_that_was_cut_off(
    tmp_path: Path,
) -> None:
    def refuse(_: str) -> str:
        raise EndpointUnusable("HTTP 401")

    plan = Plan(CallableModel(refuse), load_prompts("quick"))
    for session in range(3):
        with Asking(plan, prepare(plan, tmp_path / "run", resume=True)) as asking:
            assert (asking.state.earlier, asking.state.lost) == (session, 0)
            with pytest.raises(EndpointUnusable):
                asking.ask()


def test_a_wait_that_is_too_long_ends_it() -> None:
    model = Failing({"0": [RateLimited("daily limit", retry_after=3600)]})
    found, stopped, _ = collect(model, 5)
    assert isinstance(stopped, EndpointUnusable)
    assert "3600 s" in str(stopped)
    assert set(found) == {0}


def test_requests_are_never_more_than_the_budget() -> None:
    model = Failing({"3": [TransientFailure("x")] * 9})
    found, stopped, collector = collect(
        model, 50, AskSettings(concurrency=8, backoff_s=0.001, max_requests=20)
    )
    assert isinstance(stopped, BudgetSpent)
    assert collector.meter.requests == sum(model.asked.values()) == 20
    assert all(o.reply for n, o in found.items() if n != 3)


@given(
    answers=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    concurrency=st.integers(1, 8),
    budget=st.floats(0, 0.02),
)
def test_money_is_never_more_than_the_budget_but_for_what_was_under_way(
    answers: list[int], concurrency: int, budget: float
) -> None:
    prices = Prices(1.0, 10.0)

    def answer(prompt: str) -> Reply:
        usage = Usage(prompt_tokens=10, completion_tokens=answers[int(prompt) % len(answers)])
        return Reply("ok", text="好", usage=usage)

    settings = AskSettings(concurrency=concurrency, max_cost=budget, price_in=1.0, price_out=10.0)
    found, stopped, collector = collect(answer, 30, settings)
    assert collector.meter.cost is not None
    most = prices.cost(10, max(answers))
    assert collector.meter.cost <= budget + concurrency * most
    assert (stopped is None) == (len(found) == 30)


def test_a_budget_of_money_needs_prices() -> None:
    with pytest.raises(UsageError, match="--price-in"):
        Collector(CallableModel(str), settings=AskSettings(max_cost=1.0))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="price"):
            Prices(wrong, 1.0)


def test_the_estimate_counts_chinese_by_character() -> None:
    assert (tokens_of("你好"), tokens_of("abcdefgh"), tokens_of("")) == (2, 2, 0)
    asked = [(Message("user", "问" * 93),)] * 10
    expected = estimate_cost(asked, Prices(1, 2), max_tokens=200)
    assert (expected.requests, expected.tokens_in, expected.tokens_out) == (10, 1000, 2000)
    assert expected.cost == pytest.approx((1000 + 2 * 2000) / 1e6)
    assert expected.most == expected.cost


def test_tokens_that_nobody_counted_are_estimated() -> None:
    settings = AskSettings(concurrency=2, price_in=1.0, price_out=1.0)
    _, _, collector = collect(lambda _: "好" * 100, 3, settings)
    assert collector.meter.tokens_out == 300


def test_what_nobody_counted_costs_the_same_after_a_resume(tmp_path: Path) -> None:
    plan = Plan(CallableModel(lambda _: "好" * 100), load_prompts("quick"), system="简短。")
    settings = AskSettings(price_in=1.0, price_out=1.0, max_requests=9)
    with Asking(plan, prepare(plan, tmp_path / "run"), settings) as asking:
        with pytest.raises(BudgetSpent):
            asking.ask()
        cost = asking.state.cost
    assert cost is not None
    assert cost > 900 / 1e6
    with Asking(plan, prepare(plan, tmp_path / "run", resume=True), settings) as again:
        assert again.state.cost == pytest.approx(cost)
        assert (again.state.earlier, again.state.lost) == (9, 0)


def test_leaving_early_cancels_what_is_under_way() -> None:
    state = Counter[str]()

    async def model(prompt: str) -> str:
        state["begun"] += 1
        try:
            await asyncio.sleep(0 if prompt == "0" else 60)
        except asyncio.CancelledError:
            state["cancelled"] += 1
            raise
        return "好"

    async def leave() -> None:
        collector = Collector(CallableModel(model), settings=FAST)
        stream = collector.outcomes(requests(20))
        async for _ in stream:
            while state["begun"] < 5:
                await asyncio.sleep(0.001)
            break
        await stream.aclose()
        assert collector.pace.active == 0

    asyncio.run(leave())
    assert state == {"begun": 5, "cancelled": 4}


def test_a_collector_is_used_again_with_its_connections() -> None:
    collector = Collector(CallableModel(Failing({})), settings=FAST)
    loop = PrivateLoop()

    async def count() -> int:
        return len([outcome async for outcome in collector.outcomes(requests(5))])

    assert [loop.run(count()) for _ in range(3)] == [5, 5, 5]
    loop.close()


def test_it_works_where_a_loop_runs_already() -> None:
    async def notebook() -> int:
        loop = PrivateLoop()
        try:
            return loop.run(asyncio.sleep(0, 7))
        finally:
            loop.close()

    assert asyncio.run(notebook()) == 7


def test_the_models_defaults_fill_what_is_left_open() -> None:
    model = CallableModel(str)
    model.defaults = Sampling(max_tokens=7)
    assert Collector(model, sampling=Sampling(0.0)).sampling == Sampling(0.0, 7)
