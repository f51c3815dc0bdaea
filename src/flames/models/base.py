"""What a model is: something that answers messages, or says in which way it could not.

ModelError (flames.errors)  exit 3
└── RequestError            one request got no answer
    ├── RateLimited         asked to slow down: worth trying again, later
    ├── TransientFailure    a server error, a timeout, a lost or unreadable answer: again
    ├── Unreachable         nobody listens there: again, but not for ever
    ├── RequestRejected     this request will never work; others may
    └── EndpointUnusable    no request will ever work (wrong key, unknown model, no host)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from flames.errors import InputError, ModelError, UsageError
from flames.options import Opt, text_or_file
from flames.records import Status
from flames.storage.rows import parse_json

_MOST = 10**12  # tokens; what claims more is no count
_OURS = frozenset({"model", "messages", "prompt", "stream", "n"})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


def parse_body(given: str) -> dict[str, Any]:
    """Reads the further fields of a request's body from JSON, or from the file of `@FILE`.

    Raises:
        UsageError: It is not a JSON object.
    """
    text = text_or_file(given, "--extra-body")
    try:
        value = parse_json(text, None, None)
    except InputError as error:
        raise UsageError(f"--extra-body {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--extra-body takes a JSON object like {"top_p": 0.9}')
    return value


@dataclass(frozen=True)
class Sampling:
    """How a response is drawn. None leaves a parameter to the provider.

    Raises:
        UsageError: A parameter is out of range, or `extra` names a field that asking needs.
    """

    temperature: Annotated[
        float | None, Opt("Sampling temperature; the provider's unless given.", metavar="T", min=0)
    ] = None
    max_tokens: Annotated[
        int | None, Opt("Maximum length of a response in tokens.", metavar="N", min=1)
    ] = None
    seed: Annotated[
        int | None, Opt("The provider's random seed.", flag="--sampling-seed", metavar="N")
    ] = None
    extra: Annotated[
        Mapping[str, Any],
        Opt(
            "Further fields of the request body.",
            flag="--extra-body",
            metavar="JSON|@FILE",
            parse=parse_body,
        ),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        value = self.temperature
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"the temperature must be a number of at least 0, not {value}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"the longest answer must be at least 1 token, not {self.max_tokens}")
        if taken := _OURS & self.extra.keys():
            raise UsageError(f"the request's field {min(taken)!r} cannot be set by hand")

    def over(self, defaults: Sampling) -> Sampling:
        """These parameters, and the defaults' where they leave one open."""
        return Sampling(
            defaults.temperature if self.temperature is None else self.temperature,
            defaults.max_tokens if self.max_tokens is None else self.max_tokens,
            defaults.seed if self.seed is None else self.seed,
            {**defaults.extra, **self.extra},
        )

    def to_dict(self) -> dict[str, Any]:
        """The parameters that are set, by name."""
        named = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }
        return {**{k: v for k, v in named.items() if v is not None}, **self.extra}


class Usage(dict[str, Any]):
    """What the provider counted, as it gave it; the two counts that everybody gives by name."""

    @property
    def tokens_in(self) -> int | None:
        """Tokens of the request."""
        return self._count("prompt_tokens", "input_tokens")

    @property
    def tokens_out(self) -> int | None:
        """Tokens of the answer, reasoning included."""
        return self._count("completion_tokens", "output_tokens")

    def _count(self, *names: str) -> int | None:
        for name in names:
            value = self.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Args:
        status: `ok`, `truncated`, `empty` or `blocked`; never `error`, which is raised.
        text: The answer without any reasoning; what there is of it when blocked.
        finish_reason: As the provider said it.
        reasoning: What the model thought aloud, kept apart.
        usage: Token counts, where given.
        note: Why it was blocked, in the provider's words.
        raw: The provider's whole answer, for callers who need more (log-probabilities, say).
    """

    status: Status
    text: str | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    usage: Usage | None = None
    note: str | None = None
    raw: Mapping[str, Any] | None = None


class RequestError(ModelError):
    """A request got no answer.

    Args:
        message: One line for people, without secrets.
        retry_after: Seconds that the endpoint asks to wait, if it does.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class RateLimited(RequestError):
    """The endpoint asks to slow down."""

    retryable = True


class TransientFailure(RequestError):
    """A server error, a timeout, a lost connection or an unreadable answer."""

    retryable = True


class Unreachable(RequestError):
    """No connection could be made."""

    retryable = True


class RequestRejected(RequestError):
    """The endpoint refuses this request for good; another one may work."""


class EndpointUnusable(RequestError):
    """No request can work: wrong key, unknown model, no such host, no credit left."""


@runtime_checkable
class ChatModel(Protocol):
    """Anything that can be asked. Implementations never retry: whoever asks does."""

    @property
    def name(self) -> str:
        """The name that its responses are recorded under."""
        ...

    @property
    def concurrency(self) -> int:
        """How many requests at once suit it where nobody says a number."""
        ...

    @property
    def defaults(self) -> Sampling:
        """Sampling parameters that it needs where nobody says otherwise."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a manifest must know of it, without secrets: provider, address, checksums."""
        ...

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Gets one answer.

        Raises:
            RequestError: There was none; its kind says whether trying again makes sense.
        """
        ...

    async def aclose(self) -> None:
        """Frees connections and processes; the model may be asked again afterwards."""
        ...
