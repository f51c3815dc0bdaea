"""Rows of one file that are about the same prompt: samples to number, texts that must agree."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from flames.errors import InputError
from flames.records import AnyRecord, Prompt, Response, asked_in
from flames.text import normalize_text, shorten

_HASH = (1 << 62) - 1
_LINE_BITS = 40


def check_one_text(record: AnyRecord, line: int, texts: dict[str, int]) -> None:
    """Refuses a second prompt under one id; `texts` has hash and line, put into one number."""
    if isinstance(record, Prompt):
        return
    asked = record.asked if isinstance(record, Response) else asked_in(record)
    if not (text := normalize_text(asked.text)):
        return
    context = asked.context
    digest = hash((text, context) if context else text) & _HASH
    known = texts.setdefault(record.prompt_id, digest << _LINE_BITS | line)
    if known >> _LINE_BITS != digest:
        earlier = known & ~(-1 << _LINE_BITS)
        raise InputError(
            f"{shorten(record.prompt_id)} has another `prompt` than on line {earlier}; give it "
            "an id of its own, or leave the id out",
            field="prompt_id",
        )


def _digest(value: object) -> bytes:
    return blake2b(repr(value).encode("utf-8", "replace"), digest_size=12).digest()


class Samples:
    """Numbers the samples of rows that have no number."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._next: dict[bytes, int] = {}
        self._taken: set[bytes] = set()

    def number(self, record: AnyRecord, key: Callable[[AnyRecord], object]) -> AnyRecord:
        """Returns the record as the next sample of its prompt and model."""
        if isinstance(record, Prompt):
            return record
        response = getattr(record, "response", None)
        asked = _digest((record.prompt_id, record.model))
        same = _digest((record.prompt_id, record.model, response))
        sample = self._known.get(same)
        if sample is None or _digest((key(record), sample)) in self._taken:
            sample = self._known[same] = self._next.get(asked, 0)
            self._next[asked] = sample + 1
        self._taken.add(_digest((key(record), sample)))
        return record.model_copy(update={"sample": sample}) if sample else record
