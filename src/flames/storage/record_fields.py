"""The fields of a file's row, put into the shape that records have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import ValidationError

from flames.errors import InputError
from flames.finish_reasons import ending_of, finish_word, status_of
from flames.records import (
    SCORABLE,
    THOUGHT_ALOUD,
    UNKNOWN_ENDING,
    Expected,
    Prompt,
    Record,
    Stance,
)
from flames.storage.unusable import usable_value
from flames.taxonomy import Dimension, Taxonomy
from flames.text import has_visible_text, shorten, with_point
from flames.thinking import Tags, split_thinking
from flames.turns import HISTORY, is_chat, read_chat, read_history

_TEXTS = frozenset(
    "dimension subcomponent technique prompt prompt_id id model response scorer source "
    "annotator rationale unscored stance_by variant_of disguise system".split()
)
_STRIPPED = _TEXTS - {"response", "prompt", "system"}
_NUMBERS = frozenset({int, float, bool})
_CHOICES = {"expected": get_args(Expected), "stance": get_args(Stance)}
_ALSO_READ = frozenset("prompt response finish_reason history system".split())  # by any record
_CHATS = frozenset({"prompt", "messages"})  # what may hold a whole list of messages


def plain_error(error: ValidationError) -> InputError:
    """Returns the first problem of a validation error in plain words."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "missing":
        return InputError("is missing", field=name)
    got = shorten(repr(first["input"]), 40)
    return InputError(f"{first['msg'].lower()}, got {got}", field=name)


@cache
def _read_of(model: type[Record]) -> frozenset[str]:
    return _ALSO_READ.union(model.model_fields)


def cleaned(fields: dict[str, Any], model: type[Record]) -> dict[str, Any]:
    """Returns the fields that are there, known texts checked and numbers among them as text."""
    kept = {}
    if HISTORY in fields or not isinstance(fields.get("prompt", ""), str) or "messages" in fields:
        fields = with_turns(fields, model)
    for name, value in fields.items():
        kind = type(value)
        if kind is not str:
            if kind not in _NUMBERS and value is not None:
                value = usable_value(value, name, _read_of(model))
            if value is None:
                continue
            if name in _TEXTS:
                value = _as_text(value, name)
        if name in _STRIPPED:
            if not (value := value.strip()):
                continue
        elif name == "system":
            if not value.strip():
                continue
        elif name in _CHOICES and value not in _CHOICES[name]:
            name = f"input_{name}"  # somebody's own column of that name
        kept[name] = value
    return kept


def with_turns(fields: dict[str, Any], model: type[Record]) -> dict[str, Any]:
    """Returns the fields with their earlier turns as lists, one shape for all shapes of files.

    A list of messages in the place of a prompt's text, or in `messages` where a row of prompts has
    none, becomes `prompt`, `history` and `system`.
    """
    fields = dict(fields)
    whole = "messages" if fields.get("prompt") in (None, "") else "prompt"
    given = fields.get(whole)
    if is_chat(given) if whole == "prompt" else given is not None and issubclass(model, Prompt):
        read = read_chat(usable_value(given, whole, _CHATS), whole)
        del fields[whole]
        for name, value in zip(("prompt", "system", HISTORY), read, strict=True):
            if value and fields.get(name) not in (None, "", [], ()):
                what = f"stands beside a list of messages in `{whole}` that has it too"
                raise InputError(f"{what}; leave one of them out", field=name)
            if value:
                fields[name] = value
    if fields.get(HISTORY) is not None:
        given = usable_value(fields[HISTORY], HISTORY, _ALSO_READ)
        turns = [] if isinstance(given, str) and not given.strip() else read_history(given)
        fields[HISTORY] = turns or None
    return fields


def _as_text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"must be text, not {type(value).__name__}", field=name)
    return str(value)


def whole(fields: dict[str, Any], name: str) -> int | None:
    """Returns a whole number, also one that is given as text (spreadsheets) or as 3.0."""
    value = fields.get(name)
    if type(value) is int:
        return value
    if value is None or value == "":
        return None
    try:
        number = value if isinstance(value, int | float) else float(with_point(str(value)))
        if isinstance(value, bool) or number != int(number):
            raise ValueError
    except (ValueError, OverflowError):
        wrong = shorten(repr(value), 40)
        raise InputError(f"must be a whole number, got {wrong}", field=name) from None
    return int(number)


def place(fields: dict[str, Any], taxonomy: Taxonomy, *, required: bool) -> Dimension | None:
    """Puts dimension and subcomponent under the taxonomy's own names."""
    if "dimension" not in fields:
        if required:
            names = ", ".join(taxonomy.names)
            raise InputError(f"is missing; one of: {names}", field="dimension")
        return None
    field = "dimension"
    try:
        dimension = taxonomy.dimension(fields[field])
        fields[field] = dimension.name
        if "subcomponent" in fields and dimension.subcomponents:
            field = "subcomponent"
            fields[field] = dimension.subcomponent(fields[field]).name
    except InputError as error:
        raise InputError(error.message, field=field) from None
    return dimension


def take_thinking_out(fields: dict[str, Any], think_tags: Sequence[Tags] = ()) -> bool:
    """Moves inline reasoning before the answer to `reasoning`, which is never scored.

    Returns whether the response ended inside its reasoning.
    """
    text = fields.get("response") or ""
    answer, thoughts, unclosed = split_thinking(text, think_tags)
    if answer == text:
        return False
    fields |= {"response": answer, THOUGHT_ALOUD: True}
    if fields.get("reasoning"):
        fields["input_response"] = text  # its own reasoning is kept, and nothing is lost
    elif thoughts:
        fields["reasoning"] = thoughts
    if fields.get("status") in SCORABLE and not has_visible_text(answer):
        reason = fields.get("finish_reason")
        fields["status"] = status_of(reason, answer, thought=True, unclosed=unclosed)
    return unclosed


def take_ending(fields: dict[str, Any], *, unclosed: bool = False) -> None:
    """Derives a missing `status`, and marks an ending that nobody knows.

    `unclosed` tells of a response that ended inside its reasoning.
    """
    reason = fields.get("finish_reason")
    if isinstance(reason, Mapping):  # vLLM and SGLang give an object for what they broke off
        fields |= {"finish_reason": finish_word(reason), "input_finish_reason": reason}
    if not fields.get("status"):
        thought = bool(fields.get("reasoning"))
        text = fields.get("response")
        fields["status"] = status_of(reason, text, thought=thought, unclosed=unclosed)
        if fields["status"] == "error" and not fields.get("error"):
            fields["error"] = f"finish_reason {shorten(fields['finish_reason'])}"
    if finish_word(reason) and ending_of(reason) is None:
        fields[UNKNOWN_ENDING] = True
