"""The options of asking: how fast, how patiently, how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

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


def parse_engine_options(pairs: Iterable[str]) -> dict[str, str]:
    """Reads `["max-model-len=8192", "enforce-eager"]` as options of an engine's command line."""
    options = {}
    for pair in pairs:
        name, _, value = pair.strip().lstrip("-").partition("=")
        if not name:
            raise UsageError(f"--engine-option takes NAME=VALUE, not {pair!r}")
        options[name.replace("_", "-")] = value
    return options


@dataclass(frozen=True)
class BatchOptions(CheckedOptions):
    """Whether a run is asked in batches, of its provider or offline, and how.

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
    engine: Annotated[
        Literal["requests", "vllm"],
        Opt("Ask request by request, or hf:PATH offline with vLLM's batch runner."),
    ] = "requests"
    engine_options: Annotated[
        Mapping[str, str],
        Opt(
            "An option of vLLM's command line, like tensor-parallel-size=4; may be repeated.",
            flag="--engine-option",
            metavar="NAME=VALUE",
            parse=parse_engine_options,
            repeat=True,
        ),
    ] = field(default_factory=dict)
    settle_s: float = 30.0
    poll_s: float = 5.0
    say: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.wait or self.window is not None) and not self.batch:
            raise UsageError("--wait and --window go with --batch")
        if self.engine == "vllm" and self.batch:
            raise UsageError("--batch is for batches of a provider: leave it out for --engine vllm")
        if self.engine_options and self.engine != "vllm":
            raise UsageError("--engine-option goes with --engine vllm")
