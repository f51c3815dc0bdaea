"""The data of a comparison, in the shape of its JSON (schema 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, SkipValidation, field_serializer

from flames import __version__
from flames.metrics.result import Estimate, Note
from flames.records import Frozen, PromptSetInfo, dump_json

SHOWN = 500
"""Changed prompts in a page or JSON by default, shared among the pairs."""


class Side(Frozen):
    """One side of a comparison: a model under a scorer on a prompt set."""

    name: str
    model: str
    scorer: str
    prompt_set: PromptSetInfo
    origin: str
    notes: tuple[Note, ...] = ()


class Tested(Frozen):
    """Second minus first, with a test.

    `p` is two-sided, `p_holm` the same corrected over all groups of its kind.
    """

    first: float
    second: float
    difference: Estimate
    p: float
    test: str
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the test, corrected where it is one of several, rejects at 5 %."""
        return (self.p if self.p_holm is None else self.p_holm) < 0.05


class Difference(Tested):
    """Second minus first, in points; above 0 the second one does better.

    `p_fall` is one-sided, that of a fall where there is none. `detectable` is found with 80 % power
    at 5 %.
    """

    p_fall: float
    detectable: float


class PartComparison(Frozen):
    """A subcomponent or technique: `n` paired prompts, how many got better or worse."""

    n: int
    better: int
    worse: int
    harmless_rate: Difference


class DimensionComparison(PartComparison):
    """A dimension, with the difference of its scores too."""

    harmless_score: Difference


class Change(Frozen):
    """A prompt with different scores on the two sides (one per sample), with the responses.

    `before` has role and text of what comes before the prompt. `rationales` are the scorer's
    reasons, an empty text where it gave none.
    """

    prompt_id: str
    dimension: str
    subcomponent: str | None = None
    technique: str | None = None
    prompt: str | None = None
    before: tuple[tuple[str, str], ...] = ()
    scores: tuple[tuple[int, ...], tuple[int, ...]]
    responses: tuple[tuple[str, ...], tuple[str, ...]]
    rationales: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    fall: float


class RobustnessChange(Tested):
    """Per cent of pairs of an original and a variant that turn from harmless to not harmless.

    Of `n` pairs by `originals`, on both sides; means over originals. A difference below 0 means
    that the second one is more robust.
    """

    n: int
    originals: int


class PairComparison(Frozen):
    """Two sides of a comparison.

    Dimensions, subcomponents and techniques are three families of tests: the p values of each are
    corrected by themselves. Overall values are None where a dimension has no pair (`partial`).
    `changed` counts the changed prompts, of which `changes` may hold only the first; each of them
    may be made on demand. `robustness` is by disguise or technique, that of all variants under an
    empty name.
    """

    first: str
    second: str
    n: int
    left_out: dict[str, int] = Field(default_factory=dict)
    remarks: tuple[Note, ...] = ()
    partial: bool
    harmless_rate: Difference | None = None
    harmless_score: Difference | None = None
    dimensions: dict[str, DimensionComparison]
    subcomponents: dict[str, PartComparison] = Field(default_factory=dict)
    techniques: dict[str, PartComparison] = Field(default_factory=dict)
    robustness: dict[str, RobustnessChange] = Field(default_factory=dict)
    changed: int = 0
    changes: SkipValidation[Sequence[Change]] = ()

    @field_serializer("changes")
    def _whole(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        return tuple(changes)


class Comparison(Frozen):
    """All pairs of sides."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    code_version: str = __version__
    taxonomy: str
    sides: tuple[Side, ...]
    pairs: tuple[PairComparison, ...]
    notes: tuple[Note, ...] = ()
    seed: int
    resamples: int

    @property
    def groups(self) -> tuple[tuple[tuple[Side, ...], tuple[PairComparison, ...]], ...]:
        """The sides that are compared with each other, and their pairs: one group per scorer."""
        found: dict[str, tuple[list[Side], list[PairComparison]]] = {}
        by_name = {side.name: side for side in self.sides}
        together = any(
            by_name[pair.first].scorer != by_name[pair.second].scorer for pair in self.pairs
        )
        for side in self.sides:
            found.setdefault("" if together else side.scorer, ([], []))[0].append(side)
        for pair in self.pairs:
            found["" if together else by_name[pair.first].scorer][1].append(pair)
        return tuple((tuple(sides), tuple(pairs)) for sides, pairs in found.values())

    def room(self, changes: int) -> int:
        """Returns how many changed prompts each pair shows of so many in all; at least 10."""
        return max(changes // max(len(self.pairs), 1), min(changes, 10))

    def to_json(self, *, changes: int = SHOWN) -> str:
        """Returns the JSON for programs, control characters escaped; `changes` as in `room`."""
        room = self.room(changes)
        pairs = tuple(p.model_copy(update={"changes": p.changes[:room]}) for p in self.pairs)
        return dump_json(self.model_copy(update={"pairs": pairs}).model_dump(by_alias=True))
