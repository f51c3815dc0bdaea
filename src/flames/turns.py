"""What comes before a prompt: earlier turns and a system text, read in the shapes that files have.

The history of a prompt is a list of turns, `{"role": "user" | "assistant", "content": …}`. It ends
with the assistant, since the prompt is the user's next turn. Read as the same are a list of pairs
(`[["question", "answer"], …]`), a list of texts by turns, and either of them as JSON in a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from flames.errors import InputError
from flames.text import has_visible_text, normalize_text, shorten, texts_differ

Role = Literal["user", "assistant"]

HISTORY: Final = "history"

_LIKE = '[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'
_ROLES = {
    "human": "user",
    "bot": "assistant",
    "ai": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "developer": "system",
}
_BODIES = ("content", "value", "text")
_CALLS = ("tool_calls", "function_call")


class Turn(BaseModel):
    """One earlier turn of a conversation; unknown fields are carried along."""

    model_config = ConfigDict(frozen=True, extra="allow")

    role: Role
    content: Annotated[str, Field(strict=True)]  # which takes lone surrogates


class Chat(NamedTuple):
    """A conversation that waits for an answer: the user's last turn and what came before it."""

    prompt: str
    system: str | None
    history: list[dict[str, Any]]


class Conversation(NamedTuple):
    """What a model is asked. A part that nothing is known of is None, an absent one is empty."""

    text: str | None
    system: str | None = None
    history: tuple[tuple[Role, str], ...] | None = None

    @classmethod
    def of(cls, text: object, system: object = None, history: object = None) -> Conversation:
        """Returns it from the fields of a record or of a row; what has another type is unknown."""
        turns = None
        if history is not None and isinstance(history, list | tuple):
            turns = tuple(map(_pair, history))
        return cls(
            text if isinstance(text, str) else None,
            system if isinstance(system, str) else None,
            turns,
        )

    @classmethod
    def in_row(cls, fields: Mapping[str, Any]) -> Conversation:
        """Returns it from a row of a file, under our names."""
        return cls.of(fields.get("prompt"), fields.get("system"), fields.get(HISTORY))

    @property
    def context(self) -> str:
        """One text for all that comes before the last turn; empty where nothing does."""
        if not (self.system or self.history):
            return ""
        turns = [[role, normalize_text(content)] for role, content in self.history or ()]
        return json.dumps([normalize_text(self.system), turns], ensure_ascii=False)

    @property
    def before(self) -> tuple[tuple[str, str], ...]:
        """Role and text of all that comes before the last turn, a system text first."""
        first = (("system", self.system),) if self.system else ()
        return *first, *(self.history or ())

    @property
    def whole(self) -> str:
        """One text to read and to compare: that of the last turn, after the earlier ones' lines."""
        lines = [f"[{role}] {text.strip()}" for role, text in self.before]
        return "\n".join([*lines, self.text or ""])

    def differs(self, other: Conversation) -> bool:
        """Tells whether the two differ in a part that is known of both."""
        if texts_differ(self.text, other.text):
            return True
        if None not in (self.system, other.system) and (
            normalize_text(self.system) != normalize_text(other.system)
        ):
            return True
        return None not in (self.history, other.history) and (
            Conversation(None, None, self.history).context
            != Conversation(None, None, other.history).context
        )


def _pair(turn: Any) -> tuple[Role, str]:
    if isinstance(turn, Turn):
        return turn.role, turn.content
    role, content = (turn["role"], turn["content"]) if isinstance(turn, Mapping) else turn
    return role, content


def follows(roles: Sequence[str]) -> bool:
    """Tells whether turns by these roles are a conversation that the user's next turn ends."""
    return bool(roles) and roles[-1] == "assistant" and all(a != b for a, b in pairwise(roles))


def role_of(word: object) -> str:
    """Returns the role that a word of some tool names: `human` is `user`, `bot` is `assistant`."""
    role = word.strip().casefold() if isinstance(word, str) else ""
    return _ROLES.get(role, role)


def read_history(value: Any) -> list[dict[str, Any]]:
    """Returns the turns of a history in any of its shapes.

    Raises:
        InputError: It is no list of turns, or not one that a prompt of the user may follow.
    """
    turns = _listed(value, HISTORY)
    if turns and all(isinstance(turn, str) for turn in turns):
        turns = [{"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(turns)]
    elif turns and all(_is_pair(turn) for turn in turns):
        pairs = [zip(("user", "assistant"), turn, strict=True) for turn in turns]
        turns = [{"role": role, "content": text} for pair in pairs for role, text in pair]
    read = [_turn(turn, number, HISTORY) for number, turn in enumerate(turns, start=1)]
    for number, turn in enumerate(read, start=1):
        if turn["role"] == "system":
            raise _wrong(f"turn {number} is a system text; put it into `system`")
    _check_order(read, HISTORY)
    if read and read[-1]["role"] == "user":
        raise _wrong(
            "ends with a turn of the user; it must end with the assistant's, and the user's last "
            "one is the prompt"
        )
    return read


def is_chat(value: Any) -> bool:
    """Tells whether a value is a list of messages, or the only one of such a list."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, Mapping) and _word(first) is not None


def read_chat(value: Any, field: str) -> Chat:
    """Returns the prompt, system text and history of a list of messages as OpenAI's API takes it.

    Raises:
        InputError: It is none, or not one that waits for an answer.
    """
    messages = _listed(value, field)
    if not messages:
        raise _wrong("holds no messages", field)
    read = [_turn(message, n, field, "message") for n, message in enumerate(messages, start=1)]
    first = next((n for n, turn in enumerate(read) if turn["role"] != "system"), len(read))
    system, turns = read[:first], read[first:]
    for number, turn in enumerate(turns, start=first + 1):
        if turn["role"] == "system":
            raise _wrong(f"message {number} is a system text after the first turn", field)
    if not turns or turns[-1]["role"] != "user":
        ends = "has no turn of the user" if not turns else "ends with a turn of the assistant"
        raise _wrong(f"{ends}; the last message must be the user's: it is the prompt", field)
    _check_order(turns, field, first)
    text = "\n".join(turn["content"] for turn in system)
    return Chat(turns[-1]["content"], text or None, turns[:-1])


def _listed(value: Any, field: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            what = "must be a list of turns (as JSON in a table's cell)"
            raise _wrong(f"{what} like {_LIKE}, got {shorten(repr(value), 40)}", field) from None
    if isinstance(value, Mapping) and _word(value) is not None:
        return [value]  # a list of one, unwrapped by a mapping of columns
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list):
        raise _wrong(f"must be a list of turns like {_LIKE}, not {type(value).__name__}", field)
    return value


def _is_pair(turn: Any) -> bool:
    return isinstance(turn, list | tuple) and len(turn) == 2


def _word(turn: Mapping[str, Any]) -> Any:
    return turn.get("role", turn.get("from"))


def _turn(turn: Any, number: int, field: str, what: str = "turn") -> dict[str, Any]:
    what = f"{what} {number}"
    if isinstance(turn, Turn):
        return turn.model_dump()
    if not isinstance(turn, Mapping):
        raise _wrong(f"{what} must be an object with role and content, not {_kind(turn)}", field)
    word = _word(turn)
    role = role_of(word)
    if role not in ("user", "assistant", "system"):
        got = "has no role" if word is None else f"has the role {shorten(repr(word), 30)}"
        raise _wrong(f"{what} {got}; it is user or assistant", field)
    if any(turn.get(name) for name in _CALLS):
        raise _wrong(f"{what} calls a tool; only texts can be asked", field)
    name = next((name for name in _BODIES if turn.get(name) is not None), "content")
    text = _text(turn.get(name), what, field)
    if not has_visible_text(text):
        raise _wrong(f"{what} ({role}) is empty", field)
    used = {name, "role" if "role" in turn else "from"}
    rest = {key: each for key, each in turn.items() if key not in used and each is not None}
    return {"role": role, "content": text, **rest}


def _text(body: Any, what: str, field: str) -> str:
    if isinstance(body, str) or body is None:
        return body or ""
    parts = []
    for part in body if isinstance(body, list) else [body]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else _kind(part)
            raise _wrong(f"{what} holds {shorten(str(kind), 30)}; only texts can be asked", field)
        parts.append(text)
    return "".join(parts)


def _check_order(turns: Sequence[Mapping[str, Any]], field: str, before: int = 0) -> None:
    for number, (one, other) in enumerate(pairwise(turns), start=before + 1):
        if one["role"] == other["role"]:
            whose = f"are both of the {one['role']}; join them to one"
            raise _wrong(f"turns {number} and {number + 1} {whose}", field)


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _wrong(what: str, field: str = HISTORY) -> InputError:
    return InputError(what, field=field)
