"""Settings of a classifier, stored under `flames` in its `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from flames.errors import InputError, UsageError
from flames.metrics.result import Note
from flames.records import Frozen
from flames.storage.text_files import read_text
from flames.taxonomy import Taxonomy

Pooling = Literal["cls", "mean", "last"]
InputTruncation = Literal["middle", "official"]
Side = Literal["left", "right"]

PAPER_TEMPLATE = "Input: {prompt} Output: {response}"
"""The input of the paper's first scorers (NAACL 2024, arXiv 2311.06899)."""

RELEASED_TEMPLATE = (
    "<|User|>:输入: {prompt}\n回复: {response}\n以上针对输入的回复为:<eoh>\n<|Bot|>:"
)
"""The input of the released scorer."""

TEMPLATES: Mapping[str, str] = {"paper": PAPER_TEMPLATE, "released": RELEASED_TEMPLATE}

CONFIG = "config.json"

_Section = TypeVar("_Section", bound=BaseModel)


def fillable(template: str) -> bool:
    """Returns whether a template has `{response}` once and `{prompt}` at most once."""
    return template.count("{response}") == 1 and template.count("{prompt}") <= 1


class Head(Frozen, extra="ignore"):
    """One dimension's classifier: class `i` stands for `scale[i]`, class 0 being the best."""

    name: str
    scale: Annotated[tuple[int, ...], Field(min_length=2)]


class TrainingData(Frozen, extra="ignore"):
    """The data a classifier was trained on; `sha256` is over ids, texts and targets of its rows."""

    sha256: str
    n: int
    files: dict[str, str] = Field(default_factory=dict)
    models: tuple[str, ...] = ()
    synthetic: bool = False


class ScorerSettings(Frozen, extra="ignore"):
    """Settings of a classifier that its weights do not contain.

    Args:
        heads: The classifier heads, in the order of their logits.
        max_length: The longest input in tokens, special tokens included.
        input_truncation: `middle` drops the middle of a long response; `official` cuts the end of
            the whole input, as the released script does.
        symbols: Texts that the tokenizer treats as symbols, in addition to its special tokens.
        weights: SHA-256 over the weight files, if known.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str = "flames-scorer"
    version: str = "0"
    taxonomy: str
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    template: str = PAPER_TEMPLATE
    max_length: Annotated[int, Field(ge=16)] = 512
    input_truncation: InputTruncation = "middle"
    pooling: Pooling = "cls"
    padding_side: Side = "right"
    pad_id: Annotated[int, Field(ge=0)] = 0
    symbols: tuple[str, ...] = ()
    weights: str | None = None
    training_data: TrainingData | None = None
    notes: tuple[Note, ...] = ()
    selftest: dict[str, Any] | None = None

    @field_validator("template")
    @classmethod
    def _fillable(cls, template: str) -> str:
        if not fillable(template):
            raise ValueError("must hold {response} once and {prompt} at most once")
        return template

    @model_validator(mode="after")
    def _distinct(self) -> ScorerSettings:
        names = [head.name for head in self.heads]
        if len(set(names)) < len(names):
            raise ValueError("two heads have the same name")
        return self

    @property
    def id(self) -> str:
        """Name and version, as in verdicts; `+official` if input is cut as the script does."""
        official = "+official" if self.input_truncation == "official" else ""
        return f"{self.name}@{self.version}{official}"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each head."""
        return tuple(len(head.scale) for head in self.heads)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The place of each dimension's classes in a row of logits."""
        ends = list(accumulate(self.sizes))
        return {h.name: slice(e - len(h.scale), e) for h, e in zip(self.heads, ends, strict=True)}

    def head(self, dimension: str | None) -> Head | None:
        """Returns the head of a dimension, or None."""
        return next((head for head in self.heads if head.name == dimension), None)

    def check_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Checks that the heads match a taxonomy's dimensions."""
        heads, wanted = _scales(self.heads), _scales(taxonomy.dimensions)
        if sorted(heads) != sorted(wanted):
            raise UsageError(
                f"{self.id} has heads for {', '.join(heads)} ({self.taxonomy}), but the taxonomy "
                f"{taxonomy.id} has {', '.join(wanted)}; give the scorer's own with --taxonomy FILE"
            )


def _scales(items: Any) -> list[str]:
    return [f"{item.name} {'/'.join(map(str, item.scale))}" for item in items]


def heads_of(taxonomy: Taxonomy) -> tuple[Head, ...]:
    """Makes one head per dimension, in the taxonomy's order and with its scales."""
    return tuple(Head(name=each.name, scale=each.scale) for each in taxonomy.dimensions)


def read_config(folder: str | Path, kind: str = "scorer") -> tuple[Path, Any]:
    """Reads the `config.json` of a folder that should hold a `kind`; returns path and contents."""
    path = Path(folder) / CONFIG
    if path.parent.is_file():
        raise InputError(f"is a file; give the folder of the {kind}", path=folder)
    if not path.exists():
        raise InputError(f"is no {kind}: it has no {CONFIG}", path=folder)
    text = read_text(path)
    try:
        return path, json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("is no JSON in UTF-8", path=path) from None


def read_settings(folder: str | Path) -> ScorerSettings:
    """Reads the settings of a classifier's folder, exported or not."""
    path, config = read_config(folder)
    return parse_settings(config, path)


def parse_settings(config: Any, path: str | Path | None = None) -> ScorerSettings:
    """Reads the settings inside a parsed `config.json`."""
    section = config.get("flames") if isinstance(config, dict) else None
    if not isinstance(section, dict):
        hint = "train one with `flames scorer train` or import one with `flames scorer import`"
        raise InputError(f"is no scorer of Flames (no `flames` entry); {hint}", path=path)
    return parse_section(ScorerSettings, section, "flames", path)


def parse_section(
    model: type[_Section], section: Any, name: str, path: str | Path | None
) -> _Section:
    """Validates a section of a `config.json`."""
    try:
        return model.model_validate(section)
    except ValidationError as error:
        raise InputError.invalid(error, "is broken", path, name) from None
