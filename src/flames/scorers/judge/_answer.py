"""What a judge's answer comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["empty", "refused", "unreadable", "off scale", "contradictory"]

RATIONALE_LENGTH = 300
"""Characters of a rationale that are kept."""


@dataclass(frozen=True)
class Answer:
    """What a judge said: a score on the scale, or the reason why there is none."""

    score: int | None = None
    unscored: Reason | None = None
    rationale: str | None = None


def settle(values: set[float], scale: tuple[int, ...], rationale: str | None) -> Answer:
    """The one value on the scale, if that is what the values are."""
    if len(values) != 1:
        return Answer(unscored="contradictory", rationale=rationale)
    value = values.pop()
    if value not in scale:
        return Answer(unscored="off scale", rationale=rationale)
    return Answer(score=int(value), rationale=rationale)


def short(text: str) -> str | None:
    """A rationale on one line, cut to its allowed length."""
    text = " ".join(text.split()).strip("\"'“”{} ,")
    return text[:RATIONALE_LENGTH] or None
