"""The limits of asking: budget, prices and cost estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flames.errors import OutsideError
from flames.models.base import Message, Reply, Usage
from flames.options import check_range

_ANSWER_GUESS = 500  # tokens of an answer before any was seen


class BudgetSpent(OutsideError):
    """The budget of requests or of money is spent; what was done so far is kept."""


@dataclass(frozen=True)
class Prices:
    """Prices of a million tokens of request and answer (reasoning included).

    Sums of money are only added where the currency is the same; it is empty if nobody named it.
    """

    tokens_in: float
    tokens_out: float
    currency: str = ""

    def __post_init__(self) -> None:
        check_range("--price-in", self.tokens_in, 0)
        check_range("--price-out", self.tokens_out, 0)

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Returns the cost of so many tokens."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


def format_money(amount: float, currency: str | None) -> str:
    """Returns a sum of money with its currency, where it is known: `0.1234 CNY`."""
    return f"{amount:.4g} {currency or ''}".rstrip()


@dataclass(frozen=True)
class CostEstimate:
    """The estimated use of a run; `most` is the cost if every answer has its full length.

    The costs are None without prices.
    """

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    most: float | None


def tokens_of(text: str) -> int:
    """Estimates the tokens of a text: one per Chinese character, one per four others."""
    wide = sum(char >= "\u2e80" for char in text)
    return wide + math.ceil((len(text) - wide) / 4)


def tokens_of_messages(messages: Iterable[Message]) -> int:
    """Estimates the tokens of a request, with those that chat templates add."""
    return sum(tokens_of(message.content) + 4 for message in messages) + 3


def estimate_cost(
    requests: Iterable[tuple[Message, ...]], prices: Prices | None, *, max_tokens: int | None
) -> CostEstimate:
    """Estimates the cost of requests."""
    sizes = [tokens_of_messages(messages) for messages in requests]
    answer = min(max_tokens or _ANSWER_GUESS, _ANSWER_GUESS)
    tokens_in, tokens_out = sum(sizes), answer * len(sizes)
    if prices is None:
        return CostEstimate(len(sizes), tokens_in, tokens_out, None, None)
    most = None if max_tokens is None else prices.cost(tokens_in, max_tokens * len(sizes))
    return CostEstimate(len(sizes), tokens_in, tokens_out, prices.cost(tokens_in, tokens_out), most)


class Budget:
    """One budget of several meters; `requests` and `cost` are what was used apart from them.

    `sent` is called before each request of the meters.
    """

    def __init__(
        self, max_requests: int | None = None, max_cost: float | None = None, name: str = "budget"
    ) -> None:
        self.max_requests = max_requests
        self.max_cost = max_cost
        self.name = name
        self.requests = 0
        self.cost = 0.0
        self.meters: list[Meter] = []
        self.sent: Callable[[], None] = lambda: None

    def check(self, held: float) -> None:
        """Raises `BudgetSpent` where one more request of that cost would exceed it."""
        used = self.requests + sum(meter.requests for meter in self.meters)
        if self.max_requests is not None and used >= self.max_requests:
            raise BudgetSpent(f"the {self.name} of {self.max_requests} requests is spent")
        if self.max_cost is None:
            return
        spent = self.cost + sum(meter.cost or 0.0 for meter in self.meters)
        held += sum(meter.held for meter in self.meters)
        if spent + held > self.max_cost:
            named = (meter.prices.currency for meter in self.meters if meter.prices)
            whole = format_money(self.max_cost, next(filter(None, named), None))
            raise BudgetSpent(
                f"the {self.name} of {whole} is spent ({spent:.4g} by now, "
                f"and {held:.4g} for what is and would be under way)"
            )


@dataclass
class Meter:
    """Counts requests, tokens and cost against its budgets.

    Requests under way count with their estimated cost (`held`), so that a budget holds with many
    at once. `max_tokens` is the longest answer, where it is limited.
    """

    prices: Prices | None = None
    budgets: tuple[Budget, ...] = ()
    max_tokens: int | None = None
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    answers: int = 0
    held: float = 0.0

    def __post_init__(self) -> None:
        for budget in self.budgets:
            budget.meters.append(self)

    @property
    def cost(self) -> float | None:
        """Cost of the answers so far; None without prices."""
        if self.prices is None:
            return None
        return self.prices.cost(self.tokens_in, self.tokens_out)

    def hold(self, messages: tuple[Message, ...], *, sent: bool = False) -> float:
        """Counts a request and returns the cost reserved for it; raises `BudgetSpent`.

        One that was `sent` already counts whatever the budgets are.
        """
        held = 0.0
        if self.prices is not None and any(each.max_cost is not None for each in self.budgets):
            held = self.prices.cost(tokens_of_messages(messages), self.expected_answer())
        for budget in () if sent else self.budgets:
            budget.check(held)
        for budget in self.budgets:
            budget.sent()
        self.requests += 1
        self.held += held
        return held

    def expected_answer(self) -> float:
        """Returns the tokens of an average answer, a guess before there is one."""
        if self.answers:
            return self.tokens_out / self.answers
        return min(self.max_tokens or _ANSWER_GUESS, _ANSWER_GUESS)

    def lose(self, requests: int, tokens_in: int) -> float | None:
        """Counts requests with an unknown outcome, of `tokens_in` each, as if still under way.

        Returns the most that they may have cost; None without prices.
        """
        self.requests += requests
        if self.prices is None:
            return None
        held = requests * self.prices.cost(tokens_in, self.max_tokens or self.expected_answer())
        self.held += held
        return held

    def settle(self, held: float, messages: tuple[Message, ...], reply: Reply | None) -> None:
        """Replaces the reserved cost of a request by the tokens that it used."""
        self.held = max(0.0, self.held - held)
        if reply is not None:
            self.count(*used(reply, messages))

    def count(self, tokens_in: int, tokens_out: int) -> None:
        """Adds an answer's tokens."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.answers += 1


def used(reply: Reply, messages: tuple[Message, ...]) -> tuple[int, int]:
    """Returns the tokens of request and answer: the provider's counts, or else estimates."""
    usage = reply.usage or Usage()
    asked = tokens_of_messages(messages) if usage.tokens_in is None else usage.tokens_in
    if usage.tokens_out is not None:
        return asked, usage.tokens_out
    return asked, tokens_of((reply.text or "") + (reply.reasoning or ""))
