"""What a model is: it answers messages, or raises the way in which it could not.

ModelError (flames.errors)  exit 3
└── RequestError            one request got no answer
    ├── RateLimited         asked to slow down: try again later
    ├── TransientFailure    a server error, a timeout, a lost or unreadable answer: try again
    ├── Unreachable         no connection: try again, but not for ever
    ├── RequestRejected     this request will never work; others may
    └── EndpointUnusable    no request will ever work (wrong key, unknown model, no host)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from flames.errors import InputError, ModelError, UsageError
from flames.options import CheckedOptions, Opt, check_choice, text_or_file
from flames.records import Status
from flames.storage.text_files import parse_json
from flames.turns import Conversation, Role

_MOST_TOKENS = 10**12  # a larger number is no count
_OWN_FIELDS = frozenset({"model", "messages", "prompt", "stream", "n"})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system"] | Role
    content: str


def messages_of(asked: Conversation, system: str | None = None) -> tuple[Message, ...]:
    """Returns the messages that ask a prompt; a system text of its own goes before `system`."""
    first = asked.system or system
    turns = *(asked.history or ()), ("user", asked.text or "")
    messages = tuple(Message(role, content) for role, content in turns)
    return (Message("system", first), *messages) if first else messages


def parse_body(given: str) -> dict[str, Any]:
    """Reads the further fields of a request's body from JSON, or from the file of `@FILE`."""
    text = text_or_file(given, "--extra-body")
    try:
        value = parse_json(text, None, None)
    except InputError as error:
        raise UsageError(f"--extra-body {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--extra-body takes a JSON object like {"top_p": 0.9}')
    return value


@dataclass(frozen=True)
class Sampling(CheckedOptions):
    """Sampling parameters. None leaves a parameter to the provider.

    `required` are fields of the body that are not left out where the endpoint refuses them.
    """

    temperature: Annotated[
        float | None, Opt("Sampling temperature; the provider's by default.", metavar="T", min=0)
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
    required: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if taken := _OWN_FIELDS & self.extra.keys():
            raise UsageError(f"the request's field {min(taken)!r} cannot be set by hand")

    def over(self, defaults: Sampling) -> Sampling:
        """Returns these parameters, completed by the defaults."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return replace(defaults, **{**given, "extra": {**defaults.extra, **self.extra}})

    def to_dict(self) -> dict[str, Any]:
        """Returns the parameters that are set, by name."""
        named = {name: getattr(self, name) for name in ("temperature", "max_tokens", "seed")}
        return {**{k: v for k, v in named.items() if v is not None}, **self.extra}


class Usage(dict[str, Any]):
    """The provider's counts as it gave them; two of them by a common name."""

    @property
    def tokens_in(self) -> int | None:
        """Tokens of the request."""
        return self._count("prompt_tokens", "input_tokens")

    @property
    def tokens_out(self) -> int | None:
        """Tokens of the answer, reasoning included."""
        return self._count("completion_tokens", "output_tokens")

    @property
    def tokens_beside_request(self) -> int:
        """Tokens of the answer, or of all but the request where those are more."""
        total = self._count("total_tokens") or 0
        return max(self.tokens_out or 0, total - (self.tokens_in or 0))

    @property
    def reasoning_tokens(self) -> int | None:
        """Tokens of the reasoning, where they are counted."""
        details = (self.get(f"{name}_tokens_details") for name in ("completion", "output"))
        inner = next((Usage(each) for each in details if isinstance(each, Mapping)), Usage())
        own = self._count("reasoning_tokens")
        return own if own is not None else inner._count("reasoning_tokens")

    def _count(self, *names: str) -> int | None:
        counts = (self.get(name) for name in names)
        return next((n for n in counts if type(n) is int and 0 <= n < _MOST_TOKENS), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer.

    Args:
        status: Any but `error`, which is raised.
        text: The answer without any reasoning; as much of it as came when blocked.
        note: Why it was blocked, in the provider's words.
        raw: The provider's whole answer, for callers who need more (log-probabilities, say).
        ending_known: Whether a known word says how it ended.
    """

    status: Status
    text: str | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    usage: Usage | None = None
    note: str | None = None
    raw: Mapping[str, Any] | None = None
    ending_known: bool = True


class RequestError(ModelError):
    """A request got no answer; `retry_after` is what the endpoint asks to wait, in seconds."""

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
    """The endpoint refuses this request for good; another one may work.

    `said` is all that it said, for those who can change the request.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, said: str | None = None
    ) -> None:
        self.said = message if said is None else said
        super().__init__(message, retry_after=retry_after)


class EndpointUnusable(RequestError):
    """No request can work: wrong key, unknown model, no such host, no credit left."""


@runtime_checkable
class ChatModel(Protocol):
    """Anything that answers messages. Implementations never retry: the collector does."""

    @property
    def name(self) -> str:
        """The name that its responses are recorded under."""

    @property
    def concurrency(self) -> int:
        """The default number of concurrent requests."""

    @property
    def defaults(self) -> Sampling:
        """Its default sampling parameters."""

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest, without secrets: provider, address, checksums."""

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Gets one answer, or raises a `RequestError` that says whether to try again."""

    async def aclose(self) -> None:
        """Frees connections and processes; the model may be asked again afterwards."""


@dataclass(frozen=True)
class Frame:
    """A text around the question for base models, which only continue texts.

    `question` has `{}` for the question's text; a string of `stop` ends the answer.
    """

    name: str
    before: str
    question: str
    answer: str
    stop: tuple[str, ...]

    def text(self, messages: Sequence[Message]) -> str:
        """Returns the text to continue."""
        parts = [self.before]
        for message in messages:
            if message.role == "system":
                parts.append(message.content.strip() + "\n\n")
            elif message.role == "user":
                parts.append(self.question.format(message.content.strip()))
            else:
                parts.append(self.answer + message.content.strip() + "\n\n")
        return "".join(parts) + self.answer


QA = Frame(
    name="qa",
    before=(
        "问：天空为什么是蓝色的？\n"
        "答：因为大气会散射阳光，蓝光散射得最多，所以天空看上去是蓝色的。\n\n"
        "问：怎样煮出好吃的米饭？\n"
        "答：先把米淘洗干净，加水浸泡半小时，水没过米面一指节，煮好后再焖十分钟。\n\n"
    ),
    question="问：{}\n",
    answer="答：",
    stop=("\n", "问："),
)


def ask_form(frame: Frame | None) -> dict[str, str]:
    """Describes for a manifest how a model is asked: the API, and the frame if there is one."""
    return {"api": "completions", "frame": frame.name} if frame else {"api": "chat"}


def load_frame(name: str | None) -> Frame | None:
    """Returns a frame by name; None for `chat` and None, the model's own chat template."""
    check_choice("--frame", name or "chat", ("chat", QA.name))
    return QA if name == QA.name else None
