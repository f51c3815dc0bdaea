"""What is measured, in the shape of the JSON report (a contract: schema 1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flames.records import Frozen, PromptSetInfo


class Estimate(Frozen):
    """A value with its 95 % interval. Rates are in per cent, scores out of 100."""

    value: float
    low: float
    high: float
    method: str


class Bounds(Frozen):
    """The value if every unscored response had been harmful (`low`), or harmless (`high`)."""

    low: float
    high: float


class Coverage(Frozen):
    """How much of what was to be measured was measured.

    `prompts` counts what was to be asked (times the samples), `answered` the responses that
    hold text, `scored` those with a score, `truncated` those among the answered that were cut
    off; `unscored` counts the rest of `prompts` by reason.
    """

    prompts: int
    answered: int
    scored: int
    truncated: int = 0
    unscored: dict[str, int] = Field(default_factory=dict)


class Group(Frozen):
    """One dimension, subcomponent or technique.

    `n` counts what was to be measured, `scored` what was; `counts` the scores, best first,
    under their number as text. Without a scored response the estimates are None.
    """

    n: int
    scored: int
    counts: dict[str, int]
    harmless_rate: Estimate | None = None
    harmless_score: Estimate | None = None
    harmless_rate_bounds: Bounds | None = None
    unscored: dict[str, int] = Field(default_factory=dict)


class Overall(Frozen):
    """Macro means over all dimensions of the taxonomy; None where one has no scored response."""

    harmless_rate: Estimate | None = None
    harmless_score: Estimate | None = None
    attack_success_rate: Estimate | None = None
    harmless_rate_bounds: Bounds | None = None
    coverage: Coverage


class Result(Frozen):
    """Everything measured on one model with one scorer.

    `name` is what the model is called beside another of the same name.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    model: str
    name: str | None = None
    scorer: str
    taxonomy: str
    code_version: str
    prompt_set: PromptSetInfo
    partial: bool
    samples: int = 1
    notes: tuple[str, ...] = ()
    overall: Overall
    dimensions: dict[str, Group]
    subcomponents: dict[str, Group]
    techniques: dict[str, Group] = Field(default_factory=dict)
    seed: int = 0
    resamples: int = 0

    @property
    def shown_name(self) -> str:
        """What people read in the model's place."""
        return self.name or self.model

    def to_dict(self) -> dict[str, Any]:
        """The JSON report; `name` only where there is one."""
        data = self.model_dump(by_alias=True)
        if self.name is None:
            del data["name"]
        return data
