"""The options of asking: how fast, how patiently, how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from flames.collect.limits import Prices
from flames.errors import UsageError
from flames.options import CheckedOptions, Opt


@dataclass(frozen=True)
class AskSettings(CheckedOptions):
    """Speed, retries, patience and budget; a budget is for all sessions of a run together.

    Args:
        backoff_s: Seconds before the first retry of a failed request; each further one doubles.
        currency: Of the prices and of `max_cost`, where it is known.
        price_source: Where the prices stand, if they were not given by hand.
        batch_factor: The share of the prices that a batch costs, where that is known.
    """

    concurrency: Annotated[
        int | None,
        Opt("Maximum number of concurrent requests; fewer when throttled.", metavar="N", min=1),
    ] = None
    rpm: Annotated[
        float | None,
        Opt("Maximum number of requests a minute; found out if not given.", metavar="N", min=0.001),
    ] = None
    tpm: Annotated[
        float | None,
        Opt("Maximum number of tokens a minute, estimated before a request.", metavar="N", min=1),
    ] = None
    retries: Annotated[
        int, Opt("Further attempts after a failure other than a rate limit.", metavar="N", min=0)
    ] = 4
    patience: Annotated[
        float,
        Opt(
            "Time without a single answer after which the endpoint is given up.",
            metavar="SECONDS",
            min=0,
        ),
    ] = 600.0
    max_requests: Annotated[
        int | None,
        Opt("Maximum number of requests of all sessions, with retries.", metavar="N", min=1),
    ] = None
    max_cost: Annotated[
        float | None,
        Opt("Maximum cost of all sessions, in the currency of the prices.", metavar="MONEY", min=0),
    ] = None
    price_in: Annotated[
        float | None, Opt("Price of a million input tokens.", metavar="MONEY", min=0)
    ] = None
    price_out: Annotated[
        float | None, Opt("Price of a million output tokens.", metavar="MONEY", min=0)
    ] = None
    backoff_s: float = 0.5
    currency: str | None = None
    price_source: str | None = None
    batch_factor: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.price_in is None) != (self.price_out is None):
            raise UsageError("--price-in and --price-out go together")

    def under(self, terms: Mapping[str, Any]) -> AskSettings:
        """Returns these settings, what is not set completed by a model's terms."""
        if self.price_in is not None:  # prices go together, with their currency
            of_price = {"price_in", "price_out", "currency", "price_source", "batch_factor"}
            terms = {name: n for name, n in terms.items() if name not in of_price}
        own = {name for name in vars(self) if getattr(self, name) is None}
        given: dict[str, Any] = {name: n for name, n in terms.items() if name in own}
        settings = replace(self, **given)
        if settings.max_cost is not None and settings.price_in is None:
            raise UsageError(
                "--max-cost needs prices, and none is known for this model: give --price-in and "
                "--price-out (flames models prices lists the known ones)"
            )
        return settings

    def in_batches(self) -> AskSettings:
        """Returns these settings at the prices of a batch, where they are known."""
        if self.batch_factor is None or self.price_in is None or self.price_out is None:
            return self
        return replace(
            self,
            price_in=self.price_in * self.batch_factor,
            price_out=self.price_out * self.batch_factor,
            price_source=f"{self.price_source}, × {self.batch_factor:g} in batches",
            batch_factor=None,
        )

    @property
    def prices(self) -> Prices | None:
        """The prices of tokens, where they were given."""
        if self.price_in is None or self.price_out is None:
            return None
        return Prices(self.price_in, self.price_out, self.currency or "")


@dataclass(frozen=True)
class BatchOptions(CheckedOptions):
    """Whether a run is asked by batches of its provider, and how they are waited for.

    Args:
        settle_s: Seconds that a request which was cut off may still take to arrive.
        poll_s: Seconds between the first two looks at a batch; the others follow at longer ones.
        say: Receives lines for people.
    """

    batch: Annotated[
        bool,
        Opt("Ask by batches of the provider, often at half the price; --resume collects them."),
    ] = False
    wait: Annotated[bool, Opt("With --batch: wait until the batches are finished.")] = False
    window: Annotated[
        str | None,
        Opt("With --batch: how long the provider may take; 24h unless given.", metavar="TIME"),
    ] = None
    settle_s: float = 30.0
    poll_s: float = 5.0
    say: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.wait or self.window is not None) and not self.batch:
            raise UsageError("--wait and --window go with --batch")
