"""What reported answers of providers become: a line of `zoo.jsonl` each, through the engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from provider_zoo import CASES, Zoo, zoo

from flames.collect.engine import AskOutcome, Collector, Request
from flames.collect.settings import AskSettings
from flames.errors import OutsideError
from flames.models.base import Message, Sampling
from flames.models.load import ModelOptions, load_model

SETTINGS = AskSettings(retries=1, backoff_s=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Zoo]:
    with zoo() as running:
        yield running


def outcome_of(url: str, case: dict[str, Any]) -> AskOutcome[None]:
    model = load_model("m", ModelOptions(base_url=url, **case.get("reach", {})))
    sampling = Sampling(**case.get("ask", {}))
    collector = Collector(model, sampling=sampling, settings=SETTINGS)
    found: list[AskOutcome[None]] = []

    async def once() -> None:
        request = Request(None, (Message("user", "问"),))
        try:
            async with aclosing(collector.outcomes([request])) as outcomes:
                async for outcome in outcomes:  # it may raise after an outcome
                    found.append(outcome)  # noqa: PERF401
        finally:
            await model.aclose()

    with suppress(OutsideError):  # the endpoint is given up, after the outcome
        asyncio.run(once())
    [outcome] = found
    return outcome


def test_there_are_enough_cases_and_no_two_of_a_name() -> None:
    names = [case["case"] for case in CASES]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["case"] for case in CASES])
def test_a_reported_shape(number: int, server: Zoo) -> None:
    case = CASES[number]
    outcome = outcome_of(server.url(number), case)
    reply = outcome.reply
    if reply is None:
        status, said = "error", str(outcome.failure)
    else:
        status = reply.status
        said = reply.note or ("" if reply.ending_known else "unknown ending")
    assert (status, outcome.attempts) == (case["status"], case["attempts"]), said
    assert re.search(case["message"], said) if case["message"] else not said, said
    if reply is not None and "text" in case:
        assert reply.text == case["text"]
    if reply is not None and "reasoning" in case:
        assert reply.reasoning == case["reasoning"]
    for n, wanted in enumerate(case.get("sent", ())):
        sent = server.bodies[number][n]
        assert wanted == {name: sent.get(name) for name in wanted}
