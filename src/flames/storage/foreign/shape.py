"""What the readers of other tools share: the form of a reader, conversations, scores, failures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flames.errors import InputError
from flames.finish_reasons import ending_of
from flames.text import shorten
from flames.thinking import split_parts
from flames.turns import follows, role_of

Fields = Mapping[str, Any]
Reader = Callable[[Fields], Iterable[dict[str, Any]]]
"""Turns one row of a tool's file into rows with our field names."""


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Args:
        name: What it is called in messages, after "read as".
        fits: Tells whether a row has its shape.
        reader: Returns the reader for the file of that name.
        unfold: Returns the rows of a whole JSON document of this kind, or None if it is none.
    """

    name: str
    fits: Callable[[Fields], bool]
    reader: Callable[[str], Reader]
    unfold: Callable[[Fields], list[Any] | None] = lambda document: None


def inner(value: Any, *names: str | int) -> Any:
    """Returns what lies inside objects and lists, or None where the way there is missing."""
    for name in names:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and isinstance(name, int) and name < len(value):
            value = value[name]
        else:
            return None
    return value


def text_at(value: Any, *names: str | int) -> str | None:
    """Returns the text that lies inside objects and lists, if there is any."""
    found = inner(value, *names)
    return found if isinstance(found, str) and found else None


def must_be(value: Any, kind: type, field: str, what: str) -> Any:
    """Checks the type of a field that a row cannot do without."""
    if not isinstance(value, kind):
        got = "nothing" if value is None else type(value).__name__
        raise InputError(f"must be {what}, not {got}", field=field)
    return value


def asked(messages: Any) -> dict[str, Any]:
    """Returns the fields `prompt`, `history` and `system` of a request: a text, or messages.

    Turns that no history can hold (a tool's, or two of one role) are written out with their roles
    in the prompt.
    """
    if isinstance(messages, str):
        chat = _chat_in(messages)
        if chat is None:
            return {"prompt": messages} if messages else {}
        messages = chat
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    for message in messages if isinstance(messages, list) else ():
        given = "user" if isinstance(message, str) else inner(message, "role")
        role = role_of(given) or "user"
        body = message if isinstance(message, str) else inner(message, "content")
        text, _ = split_parts(_marked(inner(message, "prompt") if body is None else body))
        if text:
            (system.append(text) if role == "system" else turns.append((role, text)))
    fields: dict[str, Any] = {"system": "\n".join(system)} if system else {}
    *before, last = turns or [("", "")]
    roles = [role for role, _ in before]
    if last[0] == "user" and set(roles) <= {"user", "assistant"} and (not roles or follows(roles)):
        history = [{"role": role, "content": text} for role, text in before]
        return {"prompt": last[1], **({"history": history} if history else {}), **fields}
    if turns:
        fields["prompt"] = "\n\n".join(f"{role}: {text}" for role, text in turns)
    return fields


def _marked(content: Any) -> Any:
    """Puts a mark where a message holds an image, say: nothing is dropped in silence."""
    if not isinstance(content, list):
        return content
    kinds = [text_at(part, "type") if text_at(part, "text") is None else None for part in content]
    pairs = zip(kinds, content, strict=True)
    return [{"text": f"[{shorten(kind, 20)}]"} if kind else part for kind, part in pairs]


def _chat_in(text: str) -> list[Any] | None:
    """Returns the messages of a text that is a list of them in JSON, as some tools log requests."""
    if not text.lstrip().startswith("["):
        return None
    try:
        chat = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(chat, list) and chat and all(inner(m, "role") is not None for m in chat):
        return chat
    return None


def placed(*sources: Any) -> dict[str, str]:
    """Returns dimension, subcomponent and technique from the first source that names them."""
    found: dict[str, str] = {}
    for source in sources:
        for name in ("dimension", "subcomponent", "technique"):
            if text := text_at(source, name):
                found.setdefault(name, text)
    return found


def scored(values: Mapping[str, Any], reasons: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the field `scores` with a tool's scores, and `score` if one of them is ours.

    A score is on our scale only if its name says so (`flames`): the 1 of a right answer elsewhere
    is the worst level here.
    """
    plain = {shorten(str(name), 60): value for name, value in values.items() if _is_plain(value)}
    fields: dict[str, Any] = {"scores": plain} if plain else {}
    ours = [name for name in values if "flames" in name.casefold()]
    ours = [name for name in ours if name.casefold() == "flames"] or ours
    if len(ours) == 1:
        fields |= {"score": plain.get(ours[0]), "scorer": ours[0]}
        if isinstance(reason := (reasons or {}).get(ours[0]), str) and reason.strip():
            fields["rationale"] = reason
    return fields


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def failed(error: Any) -> dict[str, Any]:
    """Returns the fields of a request that failed; a filter's code makes it `blocked`."""
    words = [error] if isinstance(error, str) else []
    codes: list[str] = []
    for part in (error, inner(error, "error"), inner(error, "innererror")):
        words += filter(None, [text_at(part, "message"), text_at(part, "error")])
        codes += filter(None, [text_at(part, "code"), text_at(part, "type")])
    said = "; ".join(dict.fromkeys([*words, *codes])) or "no reason is given"
    state = {
        "status": "blocked" if ending_of(*codes) == "blocked" else "error",
        "error": shorten(said, 300),
    }
    return {"response": None, **state}


def day(seconds: Any) -> dict[str, str]:
    """Returns the field `created` for a time in seconds since 1970."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return {}
    try:
        return {"created": datetime.fromtimestamp(seconds, UTC).isoformat()}
    except (ValueError, OverflowError, OSError):
        return {}


def kept(fields: Fields, names: Sequence[str]) -> dict[str, Any]:
    """Returns those of a row's fields that are carried along: texts and numbers."""
    return {name: fields[name] for name in names if _is_plain(fields.get(name))}
