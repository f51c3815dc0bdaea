"""What asking has used, what it may use, and what it will probably cost.

How many requests may be under way: fewer when the endpoint asks for it, more again after.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from flames.errors import OutsideError
from flames.models.base import Message, Reply, Usage
from flames.options import check_range

ANSWER_GUESS = 500
"""Tokens of an answer before any was seen."""


class BudgetSpent(OutsideError):
    """The budget of requests or of money is spent; what was done so far is kept."""


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in any currency.

    Args:
        tokens_in: Of the request.
        tokens_out: Of the answer, reasoning included.
    """

    tokens_in: float
    tokens_out: float

    def __post_init__(self) -> None:
        check_range("--price-in", self.tokens_in, 0)
        check_range("--price-out", self.tokens_out, 0)

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


@dataclass(frozen=True)
class CostEstimate:
    """What a run will probably use. `most` is the cost if every answer has its full length."""

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float
    most: float | None


def tokens_of(text: str) -> int:
    """A rough count of a text's tokens: a Chinese character each, four others together."""
    wide = sum(char >= "\u2e80" for char in text)
    return wide + math.ceil((len(text) - wide) / 4)


def tokens_of_messages(messages: Iterable[Message]) -> int:
    """A rough count of a request's tokens, with what chat templates add."""
    return sum(tokens_of(message.content) + 4 for message in messages) + 3


def estimate_cost(
    requests: Iterable[tuple[Message, ...]], prices: Prices, *, max_tokens: int | None
) -> CostEstimate:
    """What these requests will probably cost."""
    sizes = [tokens_of_messages(messages) for messages in requests]
    answer = min(max_tokens or ANSWER_GUESS, ANSWER_GUESS)
    tokens_in, tokens_out = sum(sizes), answer * len(sizes)
    most = None if max_tokens is None else prices.cost(tokens_in, max_tokens * len(sizes))
    return CostEstimate(len(sizes), tokens_in, tokens_out, prices.cost(tokens_in, tokens_out), most)


class Meter:
    """Counts requests, tokens and money, and says when there is no more to spend.

    What is under way counts with what it will probably cost, so that the budget holds also
    with many requests at once.

    Args:
        prices: Without them there is no cost.
        max_requests: The most requests, retries included.
        max_cost: The most money, in the prices' currency; nothing without prices.
        max_tokens: The longest answer, where it is limited.
    """

    def __init__(
        self,
        *,
        prices: Prices | None = None,
        max_requests: int | None = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.prices = prices
        self.requests = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self.answers = 0
        self._max_requests = max_requests
        self._max_cost = max_cost
        self._max_tokens = max_tokens
        self._held = 0.0

    @property
    def cost(self) -> float | None:
        """What the answers so far cost; None without prices."""
        if self.prices is None:
            return None
        return self.prices.cost(self.tokens_in, self.tokens_out)

    def hold(self, messages: tuple[Message, ...]) -> float:
        """Makes room for a request; returns the money held for it.

        Raises:
            BudgetSpent: There is no room.
        """
        if self._max_requests is not None and self.requests >= self._max_requests:
            raise BudgetSpent(f"the budget of {self._max_requests} requests is spent")
        held = 0.0
        if self.prices is not None and self._max_cost is not None:
            held = self.prices.cost(tokens_of_messages(messages), self._answer())
            spent = self.prices.cost(self.tokens_in, self.tokens_out)
            if spent + self._held + held > self._max_cost:
                raise BudgetSpent(
                    f"the budget of {self._max_cost:g} is spent ({spent:.4g} by now, "
                    f"and {self._held + held:.4g} for what is and would be under way)"
                )
        self.requests += 1
        self._held += held
        return held

    def _answer(self) -> float:
        """Tokens that an answer will probably have."""
        if self.answers:
            return self.tokens_out / self.answers
        return min(self._max_tokens or ANSWER_GUESS, ANSWER_GUESS)

    def lose(self, requests: int, tokens_in: int) -> float | None:
        """Counts requests that nobody knows the outcome of, as if they stayed under way for ever.

        Args:
            requests: How many.
            tokens_in: Tokens of each.

        Returns:
            What they may have cost, as far as the longest answer is known; None without prices.
        """
        self.requests += requests
        if self.prices is None:
            return None
        held = requests * self.prices.cost(tokens_in, self._max_tokens or self._answer())
        self._held += held
        return held

    def settle(self, held: float, messages: tuple[Message, ...], reply: Reply | None) -> None:
        """Takes what a request really used for what was held for it."""
        self._held = max(0.0, self._held - held)
        if reply is not None:
            tokens_in, tokens_out = used(reply, messages)
            self.count(tokens_in, tokens_out)

    def count(self, tokens_in: int, tokens_out: int) -> None:
        """Adds an answer's tokens."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.answers += 1


def used(reply: Reply, messages: tuple[Message, ...]) -> tuple[int, int]:
    """Tokens in and out of an answer, as the provider counted them, or else roughly."""
    usage = reply.usage or Usage()
    tokens_in, tokens_out = usage.tokens_in, usage.tokens_out
    if tokens_in is None:
        tokens_in = tokens_of_messages(messages)
    if tokens_out is None:
        tokens_out = tokens_of((reply.text or "") + (reply.reasoning or ""))
    return tokens_in, tokens_out


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
