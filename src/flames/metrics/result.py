"""What is measured, in the shape of the JSON report (a contract: schema 1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from flames.metrics.conditions import Conditions
from flames.metrics.tabular import html_table, to_frame
from flames.records import Expected, Frozen, PromptSetInfo
from flames.taxonomy import Text

if TYPE_CHECKING:
    from pandas import DataFrame


@cache
def _sentences() -> dict[str, Text]:
    file = resources.files("flames").joinpath("reports/strings.json")
    words = json.loads(file.read_text("utf-8"))
    notes = {key: text for key, text in words.items() if key.startswith("note.")}
    return {key.removeprefix("note."): Text.model_validate(text) for key, text in notes.items()}


@dataclass(frozen=True, init=False)
class Note:
    """Something that a reader of numbers must know: `Note("outside_set", n=3, name="open")`.

    `code` names a sentence in `strings.json` (`note.outside_set`) that the parameters fill.
    """

    code: str
    params: tuple[tuple[str, str | int | float], ...]

    def __init__(self, code: str, /, **params: str | int | float) -> None:
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "params", tuple(params.items()))
        _ = self.words  # an unknown code or a missing parameter fails here

    @classmethod
    def text(cls, sentence: str) -> Note:
        """Returns a note with a sentence of its own, the same in both languages."""
        return cls("text", text=sentence)

    @classmethod
    def read(cls, value: object) -> Note:
        """Reads a note from JSON: an object as `to_dict` gives it, or a sentence.

        A note that this version has no sentence for keeps the one that it was written with.
        """
        if isinstance(value, Note):
            return value
        if isinstance(value, str):
            return cls.text(value)
        if not isinstance(value, dict) or not isinstance(value.get("text"), str):
            raise ValueError("must be a sentence, or an object with a `code` and a `text`")
        params = {k: v for k, v in value.items() if isinstance(v, str | int | float)}
        sentence, code = params.pop("text"), params.pop("code", "text")
        try:
            return cls(str(code), **params)
        except (LookupError, ValueError, TypeError):
            return cls.text(str(sentence))

    @property
    def words(self) -> Text:
        """The sentence in both languages."""
        params: dict[str, Any] = dict(self.params)
        if self.code == "text":
            return Text(zh=params["text"], en=params["text"])
        form = _sentences()[self.code]
        return Text(zh=form.zh.format(**params), en=form.en.format(**params))

    def to_dict(self) -> dict[str, Any]:
        """Returns the note as it is written: code, parameters, and the English sentence."""
        return {"code": self.code, **dict(self.params), "text": str(self)}

    def __str__(self) -> str:
        return self.words.en

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.read, serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict)
        )


class Estimate(Frozen):
    """A value with its 95 % interval. Rates are in per cent, scores out of 100."""

    value: float
    low: float
    high: float
    method: str


def format_number(value: float, digits: int = 1, *, sign: bool = False) -> str:
    """Returns `12.3`, or `+12.3` and `−12.3` with a sign."""
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def format_interval(estimate: Estimate, digits: int = 1, *, sign: bool = False) -> str:
    """Returns `[10.1, 14.5]`."""
    low, high = (format_number(end, digits, sign=sign) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def format_estimate(
    estimate: Estimate, digits: int = 1, interval_digits: int | None = None, *, sign: bool = False
) -> str:
    """Returns a value with its interval: `12.3 [10.1, 14.5]`; with a sign also `+`."""
    ends = digits if interval_digits is None else interval_digits
    value = format_number(estimate.value, digits, sign=sign)
    return f"{value} {format_interval(estimate, ends, sign=sign)}"


class Bounds(Frozen):
    """The value if every unscored response had been harmful (`low`), or harmless (`high`)."""

    low: float
    high: float


class Coverage(Frozen):
    """How much of what was to be measured was measured.

    `prompts` counts expected responses, `answered` those with text (`truncated` if cut off),
    `scored` those with a score, `unscored` the rest of `prompts` by reason.
    """

    prompts: int
    answered: int
    scored: int
    truncated: int = 0
    unscored: dict[str, int] = Field(default_factory=dict)


class Group(Frozen):
    """One dimension, subcomponent or technique; estimates are None without a scored response.

    `n` counts expected responses; `counts` the scores, best first, under their number as text.
    `expected_harmless_rate` is the mean probability of the best score, over the scored responses
    `with_probabilities`.
    """

    n: int
    scored: int
    counts: dict[str, int]
    harmless_rate: Estimate | None = None
    harmless_score: Estimate | None = None
    harmless_rate_bounds: Bounds | None = None
    expected_harmless_rate: Estimate | None = None
    with_probabilities: int = 0
    unscored: dict[str, int] = Field(default_factory=dict)


class BlockedReadings(Frozen):
    """How many responses were blocked, and the overall rate if all were harmless, or harmful.

    Blocked responses have no score; these are two answers to what hides behind them.
    """

    n: int
    if_harmless: Estimate | None = None
    if_harmful: Estimate | None = None


class Overall(Frozen):
    """Macro means over all dimensions of the taxonomy; None where one has no scored response."""

    harmless_rate: Estimate | None = None
    harmless_score: Estimate | None = None
    attack_success_rate: Estimate | None = None
    harmless_rate_bounds: Bounds | None = None
    expected_harmless_rate: Estimate | None = None
    with_probabilities: int = 0
    coverage: Coverage


_ESTIMATES = ("harmless_rate", "harmless_score", "attack_success_rate", "expected_harmless_rate")
_PARTS = ("", "_low", "_high", "_method")
ROW_COLUMNS = (
    "model", "scorer", "prompt_set", "prompt_set_sha256", "prompt_set_n", "partial", "level",
    "name", "n", "scored", "unscored", "counts",
    *(f"{name}{part}" for name in _ESTIMATES[:3] for part in _PARTS),
    "harmless_rate_worst", "harmless_rate_best",
    *(f"{_ESTIMATES[3]}{part}" for part in _PARTS), "with_probabilities",
)  # fmt: skip
"""The columns of `Result.rows`."""


def _estimates(holder: Group | Overall) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name in _ESTIMATES:
        found: Estimate | None = getattr(holder, name, None)
        if found is not None:
            cells[name] = found.value
            cells |= {f"{name}_{part}": getattr(found, part) for part in ("low", "high", "method")}
    bounds = holder.harmless_rate_bounds
    cells["harmless_rate_worst"] = bounds.low if bounds else None
    cells["harmless_rate_best"] = bounds.high if bounds else None
    cells["with_probabilities"] = holder.with_probabilities
    return cells


def _listed(counts: dict[str, int]) -> str:
    return "; ".join(f"{name}: {count}" for name, count in counts.items())


Blocked = Literal["apart", "refused"]


class Refusals(Frozen):
    """What became of the prompts that should be refused, or of those that should be answered.

    `stances` counts responses by stance, `blocked` those that a provider blocked, `unread` the
    others without a stance, by reason. `refused` is the share of `read` responses that refuse as a
    whole, `partly` of those that refuse at least a part, `harmful` the share of the scored ones
    with the worst score.
    """

    n: int
    read: int
    scored: int
    stances: dict[str, int]
    blocked: int = 0
    unread: dict[str, int] = Field(default_factory=dict)
    refused: Estimate | None = None
    partly: Estimate | None = None
    harmful: Estimate | None = None


class RefusalResult(Frozen):
    """Refusals by what the prompt set expects, and who said what the stances are.

    `groups` are by expectation, `parts` by expectation and subcomponent.
    """

    blocked_as: Blocked
    by: dict[str, int]
    groups: dict[Expected, Refusals]
    parts: dict[Expected, dict[str, Refusals]] = Field(default_factory=dict)


class Flips(Frozen):
    """What became of harmless and harmful where prompts were said in other words.

    Of `n` pairs of an original and a variant, by as many `originals`, both are scored in `scored`;
    `unscored` counts the others by reason. `lost` is the share of the scored ones that turn from
    harmless to not harmless, `gained` the other way. `before` and `after` are the harmless rates of
    originals and variants, the mean over originals, with their `difference` in points, tested by
    `test`; `p_holm` is corrected over all kinds of variants.
    """

    n: int
    scored: int
    originals: int
    unscored: dict[str, int] = Field(default_factory=dict)
    lost: Estimate | None = None
    gained: Estimate | None = None
    before: float | None = None
    after: float | None = None
    difference: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str | None = None


class Robustness(Frozen):
    """Whether values hold in other words: all pairs, and those of each disguise or technique."""

    overall: Flips
    kinds: dict[str, Flips]


class ChoiceGroup(Frozen):
    """Answers to questions, in per cent of those read: `chance` by guess, or by one letter."""

    n: int
    read: int
    right: int
    unread: dict[str, int] = Field(default_factory=dict)
    accuracy: Estimate | None = None
    chance: float | None = None
    same_letter: float | None = None


class ChoiceResult(ChoiceGroup):
    """All multiple-choice questions, and those of each class of the source."""

    classes: dict[str, ChoiceGroup] = Field(default_factory=dict)


class Result(Frozen):
    """Everything measured on one model with one scorer; `name` tells namesakes apart.

    `errors` counts what kept responses from being there, or from being scored, by reason.
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
    notes: tuple[Note, ...] = ()
    conditions: Conditions | None = None
    errors: dict[str, int] = Field(default_factory=dict)
    overall: Overall
    blocked: BlockedReadings | None = None
    dimensions: dict[str, Group]
    subcomponents: dict[str, Group]
    techniques: dict[str, Group] = Field(default_factory=dict)
    refusals: RefusalResult | None = None
    robustness: Robustness | None = None
    choices: ChoiceResult | None = None
    seed: int = 0
    resamples: int = 0

    @property
    def shown_name(self) -> str:
        """What people read in the model's place."""
        return self.name or self.model

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields one row for the overall values and one per dimension, subcomponent and technique.

        Cells are by column (`ROW_COLUMNS`); `counts` and `unscored` read `3: 113; 2: 88; 1: 48`.
        """
        head = {
            "model": self.shown_name,
            "scorer": self.scorer,
            "prompt_set": self.prompt_set.name,
            "prompt_set_sha256": self.prompt_set.sha256,
            "prompt_set_n": self.prompt_set.n,
            "partial": "true" if self.partial else "false",
        }

        def row(level: str, name: str, n: int, counted: Coverage | Group) -> dict[str, Any]:
            names = {"level": level, "name": name, "n": n, "scored": counted.scored}
            return {**head, **names, "unscored": _listed(counted.unscored)}

        coverage = self.overall.coverage
        yield row("overall", "overall", coverage.prompts, coverage) | _estimates(self.overall)
        for level, groups in (
            ("dimension", self.dimensions),
            ("subcomponent", self.subcomponents),
            ("technique", self.techniques),
        ):
            for name, group in groups.items():
                counts = {"counts": _listed(group.counts)}
                yield row(level, name, group.n, group) | counts | _estimates(group)

    def to_frame(self) -> DataFrame:
        """Returns `rows` as a pandas DataFrame."""
        return to_frame([self], ROW_COLUMNS)

    def _repr_html_(self) -> str:
        overall = self.overall
        groups = {**self.dimensions, **self.subcomponents, **self.techniques}
        known = any(group.with_probabilities for group in groups.values())
        expected = ("expected rate %",) if known else ()
        columns = ("", "harmless rate %", *expected, "harmless score", "scored", "n")
        coverage = overall.coverage

        def cells(name: str, measured: Group | Overall, scored: int, n: int) -> tuple[object, ...]:
            shown = [
                e and format_estimate(e, digits, 1)
                for e, digits in (
                    (measured.harmless_rate, 2),
                    *(((measured.expected_harmless_rate, 2),) if known else ()),
                    (measured.harmless_score, 1),
                )
            ]
            return (name, *(text or "–" for text in shown), scored, n)

        rows = [cells("overall", overall, coverage.scored, coverage.prompts)]
        rows += [cells(name, group, group.scored, group.n) for name, group in groups.items()]
        caption = f"{self.shown_name} by {self.scorer} on {self.prompt_set.full_name}"
        return html_table(columns, rows, caption)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON report, what is rare (`name`, `errors`, …) only where there is any."""
        data = self.model_dump(by_alias=True)
        rare = ("name", "errors", "refusals", "robustness", "choices")
        return {k: v for k, v in data.items() if v or k not in rare}
