"""Values of a file that say nothing as they stand; they are refused only where they are read."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from flames.errors import InputError


@dataclass(frozen=True)
class Unusable:
    """A value that was lost before the file came to us: `why`, with the cure, and what is left."""

    why: str
    left: Any = None


_HOLDING = (Unusable, list, dict)


def usable(fields: Mapping[str, Any], read: Container[str]) -> dict[str, Any]:
    """Returns the fields; an `Unusable` among those that are read is an error, else what is left.

    Raises:
        InputError: A field in `read` is, or holds, an unusable value.
    """
    return {name: usable_value(value, name, read) for name, value in fields.items()}


def usable_value(value: Any, name: str, read: Container[str]) -> Any:
    """Returns the value of a field as `usable` does."""
    if not isinstance(value, _HOLDING) or not _holds_any(value):
        return value
    found: list[Unusable] = []
    left = _left(value, found)
    if name in read:
        raise InputError(found[0].why, field=name)
    return left


def _holds_any(value: Any) -> bool:
    if isinstance(value, Unusable):
        return True
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, _HOLDING) and _holds_any(each):
            return True
    return False


def _left(value: Any, found: list[Unusable]) -> Any:
    if isinstance(value, Unusable):
        found.append(value)
        return value.left
    if isinstance(value, list):
        return [_left(each, found) for each in value]
    if isinstance(value, dict):
        return {name: _left(each, found) for name, each in value.items()}
    return value
