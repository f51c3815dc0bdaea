"""The fields of a row, put into the shape that records have."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from flames.errors import InputError
from flames.reasoning import split_opening
from flames.records import SCORABLE, THOUGHT_ALOUD
from flames.taxonomy import Dimension, Taxonomy
from flames.text import shorten, visible

_TEXTS = frozenset(
    "dimension subcomponent technique prompt prompt_id id model response scorer source "
    "annotator rationale unscored".split()
)


def plain_error(error: ValidationError) -> InputError:
    """The first thing that pydantic found wrong, in our words."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "missing":
        return InputError("is missing", field=name)
    got = shorten(repr(first["input"]), 40)
    return InputError(f"{first['msg'].lower()}, got {got}", field=name)


def cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    """Absent fields taken out; the texts that we know checked, numbers standing for them kept."""
    kept = {name: value for name, value in fields.items() if value is not None}
    for name in _TEXTS & kept.keys():
        value = kept[name]
        if not isinstance(value, str):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"must be text, not {type(value).__name__}", field=name)
            value = kept[name] = str(value)
        if name not in ("response", "prompt"):
            kept[name] = value.strip()
            if not kept[name]:
                del kept[name]
    return kept


def whole(fields: dict[str, Any], name: str) -> int | None:
    """A whole number, also as text (spreadsheets) or as 3.0."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    number: int | None = None
    if isinstance(value, bool):
        number = None
    elif isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str):
        try:
            as_float = float(value.strip())
            number = int(as_float) if as_float.is_integer() else None
        except (ValueError, OverflowError):
            number = None
    if number is None:
        raise InputError(f"must be a whole number, got {shorten(repr(value), 40)}", field=name)
    return number


def place(fields: dict[str, Any], taxonomy: Taxonomy, *, required: bool) -> Dimension | None:
    """Puts dimension and subcomponent under the taxonomy's own names."""
    if "dimension" not in fields:
        if required:
            names = ", ".join(taxonomy.names)
            raise InputError(f"is missing; one of: {names}", field="dimension")
        return None
    try:
        dimension = taxonomy.dimension(fields["dimension"])
    except InputError as error:
        raise InputError(error.message, field="dimension") from None
    fields["dimension"] = dimension.name
    if "subcomponent" in fields and dimension.subcomponents:
        try:
            fields["subcomponent"] = dimension.subcomponent(fields["subcomponent"]).name
        except InputError as error:
            raise InputError(error.message, field="subcomponent") from None
    return dimension


def name_of(dimension: str, taxonomy: Taxonomy) -> str | None:
    """The taxonomy's own name for a dimension, if it knows it."""
    try:
        return taxonomy.dimension(dimension).name
    except InputError:
        return None  # told by whoever needs it


def told_status(fields: dict[str, Any]) -> str:
    """How asking ended, as response and finish reason tell it."""
    response = fields.get("response")
    finish = fields.get("finish_reason")
    if finish == "content_filter":
        return "blocked"
    if not visible(response):
        return "empty"
    return "truncated" if finish == "length" else "ok"


def take_thinking_out(fields: dict[str, Any]) -> None:
    """Thinking that stands before the answer is kept as `reasoning` and never scored."""
    text = fields.get("response") or ""
    answer, thoughts = split_opening(text)
    if answer == text:
        return
    fields |= {"response": answer, THOUGHT_ALOUD: True}
    if fields.get("reasoning"):
        fields["input_response"] = text  # its own reasoning stands; nothing is lost
    elif thoughts:
        fields["reasoning"] = thoughts
    if fields.get("status") in SCORABLE and not visible(answer):
        fields["status"] = "empty"
