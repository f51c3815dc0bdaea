"""Under which conditions responses were obtained, and how two of them differ."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from flames.records import Frozen

_SYSTEM_PROMPT = "system_prompt"


class Conditions(Frozen):
    """How and when a model was asked; what is not known is None, or an empty `sampling`.

    `started` and `ended` are the times of the first and last response (ISO 8601, UTC),
    `duration_s` the seconds spent asking. Tokens are as the provider counted them; `cost` is at the
    prices of the time, None where sessions had none or several currencies. `by_batch` is the number
    of responses that came by a provider's batch or a file of results.
    """

    asked: str | None = None
    endpoint: str | None = None
    sampling: dict[str, Any] = Field(default_factory=dict)
    system_prompt: str | None = None
    started: str | None = None
    ended: str | None = None
    duration_s: int | None = None
    requests: int | None = None
    by_batch: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    currency: str | None = None

    def of_settings(self) -> dict[str, Any]:
        """Returns the sampling parameters that were given."""
        return {name: value for name, value in self.sampling.items() if value not in (None, {})}

    def of_answers(self) -> dict[str, Any]:
        """Returns what changes the answers: sampling, token limit and system prompt."""
        system = {_SYSTEM_PROMPT: self.system_prompt} if self.system_prompt else {}
        return self.of_settings() | system


def differing(first: Conditions | None, second: Conditions | None) -> dict[str, tuple[Any, Any]]:
    """Returns what changes the answers and differs, by name; nothing where a side is unknown."""
    if first is None or second is None:
        return {}
    ours, theirs = first.of_answers(), second.of_answers()
    pairs = {name: (ours.get(name), theirs.get(name)) for name in ours | theirs}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}
