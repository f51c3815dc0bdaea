"""What two records need to be told apart by their texts: a few numbers in the texts' place."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flames.metrics.codes import Codes, Numbers, Rows, extend_array
from flames.records import Prompt
from flames.text import normalize_text
from flames.thinking import split_thinking
from flames.turns import Conversation

_PARTS = 4  # the last turn, the system text, the earlier turns, the response


class TextDigests:
    """A number for each part of what was asked and answered, 0 where nothing is known of it.

    Rows differ where `flames.records.is_on_other_text` says so of the texts.
    """

    def __init__(self) -> None:
        self._size = 0
        self._parts: list[array[int]] = []  # none as long as nothing is known

    def __len__(self) -> int:
        return self._size

    def append(self, asked: Conversation, response: str | None) -> None:
        """Adds a row."""
        history = asked.history
        found = (
            _digest(asked.text),
            0 if asked.system is None else _known(normalize_text(asked.system)),
            0 if history is None else _known(Conversation(None, None, history).context),
            _digest(split_thinking(response).answer if response else None),
        )
        if any(found) and not self._parts:
            self._begin()
        for part, number in zip(self._parts, found, strict=False):
            part.append(number)
        self._size += 1

    def extend(self, prompts: Codes, ids: Sequence[str], known: Mapping[str, Prompt]) -> None:
        """Adds rows without texts; prompts with one of the `known` ids have its text."""
        there = [number for number, each in enumerate(ids) if each in known]
        if there and not self._parts:
            self._begin()
        digests = TextDigests()
        for number in there:
            prompt = known[ids[number]]
            asked = Conversation.of(prompt.text, prompt.system or None, prompt.history or None)
            digests.append(asked, None)
        for place, part in enumerate(self._parts):
            values = np.zeros(len(ids), dtype=np.int64)
            if there:
                values[there] = digests._parts[place]
            extend_array(part, values[prompts])
        self._size += len(prompts)

    def _begin(self) -> None:
        self._parts = [array("q", bytes(8 * self._size)) for _ in range(_PARTS)]

    def taken(self, rows: Rows) -> TextDigests:
        """Returns some of the rows, in the given order."""
        if not self._parts or (len(rows) == len(self) and (np.diff(rows) == 1).all()):
            return self
        other = TextDigests()
        other._parts = [array("q", _numbers(part)[rows].tobytes()) for part in self._parts]
        other._size = len(rows)
        return other

    def differing(
        self, rows: Numbers, other: TextDigests, others: Numbers | None = None
    ) -> NDArray[np.bool_]:
        """Tells whether rows differ from others, all unless given, in a part known of both."""
        found = np.zeros(len(rows), dtype=bool)
        for mine, theirs in zip(self._parts, other._parts, strict=False):
            first, second = _numbers(mine)[rows], _numbers(theirs)
            second = second if others is None else second[others]
            found |= (first != 0) & (second != 0) & (first != second)
        return found


def _digest(text: str | None) -> int:
    return _known(same) if (same := normalize_text(text)) else 0


def _known(text: str) -> int:
    return hash(text) or 1


def _numbers(part: array[int]) -> Rows:
    return np.asarray(part, dtype=np.int64)
