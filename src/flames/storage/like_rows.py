"""Verdicts in rows that are like an earlier one: made from that one's, not read anew.

What few different values there are (model, dimension, score, …) is read and checked once for each
combination; a row's own prompt, texts and probabilities are put in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flames.finish_reasons import status_of
from flames.records import Verdict
from flames.storage.unusable import usable_value

_Options = TypeVar("_Options")
_KIND = frozenset(
    "model dimension subcomponent technique expected status scorer score unscored annotator stance "
    "stance_by".split()
)
# What changes how a row is read: such a row is read anew.
_READ = frozenset(
    "id predicted history system messages options answer source source_class read_as variant_of "
    "disguise".split()
)
_PLAIN = frozenset({str, int, float, bool})
_MOST = 4096  # combinations


class LikeRows(Generic[_Options]):
    """Reads the rows of one file.

    Args:
        read: Reads a row, with its line, by options, anew.
        known: Tells whether options know the prompt of an id, which then fills fields in.
    """

    def __init__(
        self,
        read: Callable[[dict[str, Any], int, _Options], Verdict],
        known: Callable[[_Options, str], bool],
    ) -> None:
        self._read, self._known = read, known
        self._fields: dict[tuple[Any, ...], dict[str, Any]] = {}

    def read(self, raw: dict[str, Any], line: int, options: _Options) -> Verdict:
        """Returns the verdict in a row, as reading it anew does."""
        parted = _parted(raw)
        if parted is None or self._known(options, parted[1]["prompt_id"]):
            return self._read(raw, line, options)
        kind, own, extra = parted
        fields = self._fields.get(kind)
        if fields is None:
            verdict = self._read(raw, line, options)
            if len(self._fields) < _MOST and verdict.extra.keys() == extra.keys():
                self._fields[kind] = dict(vars(verdict))
            return verdict
        return Verdict.rebuilt({**fields, **own}, extra)


_Parted = tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]


def _parted(raw: dict[str, Any]) -> _Parted | None:
    """Returns the combination of a row, its own fields and the unknown ones, if it is plain."""
    kind: list[Any] = []
    own: dict[str, Any] = {"prompt_id": "", "sample": 0, "probabilities": None, "rationale": None}
    extra: dict[str, Any] = {}
    for name, value in raw.items():
        if name in _KIND:
            if value is not None and type(value) is not (int if name == "score" else str):
                return None
            kind += name, value
        elif name in _READ:
            return None
        elif value is None:
            continue
        elif name in own:
            value = _CHECKED[name](value)
            if value is None:
                return None
            own[name] = value
        elif name == "prompt" or name == "response":
            if type(value) is not str:
                return None
            extra[name] = value
        else:
            extra[name] = value if type(value) in _PLAIN else usable_value(value, name, ())
    if not own["prompt_id"]:
        return None
    if "response" in extra and raw.get("status") is None:
        kind.append(status_of(raw.get("finish_reason"), extra["response"]))
    own["rationale"] = own["rationale"] or None
    return tuple(kind), own, extra


def _text(value: Any) -> str | None:
    """Returns a text stripped, if it is one that UTF-8 can hold."""
    if type(value) is not str:
        return None
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
    return value.strip()


def _sample(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _chances(value: Any) -> dict[str, float] | None:
    if type(value) is not dict:
        return None
    plain = all(type(v) is float and k.isascii() for k, v in value.items())
    return value if plain else None


_CHECKED: dict[str, Callable[[Any], Any]] = {
    "prompt_id": _text,
    "sample": _sample,
    "probabilities": _chances,
    "rationale": _text,
}
