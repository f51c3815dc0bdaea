"""What a classifier must know beside its weights; stored under `flames` in its `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from flames.errors import InputError, UsageError
from flames.metrics.result import Note
from flames.records import Frozen
from flames.taxonomy import Taxonomy

Pooling = Literal["cls", "mean", "last"]
Truncation = Literal["middle", "official"]
Side = Literal["left", "right"]

PAPER_TEMPLATE = "Input: {prompt} Output: {response}"
"""The input of the paper's first scorers (NAACL 2024, arXiv 2311.06899)."""

RELEASED_TEMPLATE = (
    "<|User|>:输入: {prompt}\n回复: {response}\n以上针对输入的回复为:<eoh>\n<|Bot|>:"
)
"""The input of the released scorer."""

TEMPLATES: Mapping[str, str] = {"paper": PAPER_TEMPLATE, "released": RELEASED_TEMPLATE}

CONFIG = "config.json"


class Head(Frozen, extra="ignore"):
    """One dimension's classifier: class `i` stands for `scale[i]`, class 0 being the best."""

    name: str
    scale: Annotated[tuple[int, ...], Field(min_length=2)]


class TrainingData(Frozen, extra="ignore"):
    """What a classifier learnt from.

    `sha256` is over the training rows as they were used (ids, texts and targets, in order of
    their ids), so two classifiers with the same one saw the same data.
    """

    sha256: str
    n: int
    files: dict[str, str] = Field(default_factory=dict)
    models: tuple[str, ...] = ()
    synthetic: bool = False


class ScorerSettings(Frozen):
    """Everything about a classifier that its weights do not tell.

    Args:
        name: What it is called; with `version` it stands in every verdict.
        version: Mostly the start of its weights' checksum.
        taxonomy: Name and version of the taxonomy that the heads were made for.
        heads: The classifier heads, in the order of their logits.
        template: The text that is read: `{response}` once, `{prompt}` at most once.
        max_length: The longest input in tokens, special tokens included.
        truncation: `middle` elides the middle of a long response; `official` cuts the end of
            the whole input off, as the released script does.
        pooling: The state that the heads read: of the first token, the mean over all tokens,
            or of the last one.
        padding_side: Where batches are filled up.
        pad_id: The token that they are filled up with.
        symbols: What the tokenizer takes for more than text, beside its special tokens.
        weights: SHA-256 over the weight files, where it was taken.
        training_data: What it learnt from, where that is known.
        notes: What a reader of its numbers must know.
        selftest: The outcome of the last self-test, as it recorded it.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str = "flames-scorer"
    version: str = "0"
    taxonomy: str
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    template: str = PAPER_TEMPLATE
    max_length: Annotated[int, Field(ge=16)] = 512
    truncation: Truncation = "middle"
    pooling: Pooling = "cls"
    padding_side: Side = "right"
    pad_id: Annotated[int, Field(ge=0)] = 0
    symbols: tuple[str, ...] = ()
    weights: str | None = None
    training_data: TrainingData | None = None
    notes: tuple[Note, ...] = ()
    selftest: dict[str, Any] | None = None

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @field_validator("template")
    @classmethod
    def _fillable(cls, template: str) -> str:
        if template.count("{response}") != 1 or template.count("{prompt}") > 1:
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
        """Name and version, as they stand in verdicts; other truncation gives other verdicts."""
        return f"{self.name}@{self.version}{'+official' * (self.truncation == 'official')}"

    @property
    def reads_prompt(self) -> bool:
        """Whether the prompt's text is part of the input."""
        return "{prompt}" in self.template

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many classes each head has."""
        return tuple(len(head.scale) for head in self.heads)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each dimension's classes stand in a row of logits."""
        found, start = {}, 0
        for head in self.heads:
            found[head.name] = slice(start, start + len(head.scale))
            start += len(head.scale)
        return found

    def head(self, dimension: str | None) -> Head | None:
        """The head of that dimension, or None."""
        return next((head for head in self.heads if head.name == dimension), None)

    def check_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Makes sure that the heads speak of a taxonomy's dimensions.

        Raises:
            UsageError: They do not; every difference is named.
        """
        ours = {head.name: head.scale for head in self.heads}
        theirs = {dimension.name: dimension.scale for dimension in taxonomy.dimensions}
        if ours == theirs:
            return
        raise UsageError(
            f"{self.id} has heads for {_told(ours)} ({self.taxonomy}), but the taxonomy "
            f"{taxonomy.id} has {_told(theirs)}; give its own with --taxonomy FILE"
        )


def _told(scales: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'/'.join(map(str, scale))}" for name, scale in scales.items())


def heads_of(taxonomy: Taxonomy) -> tuple[Head, ...]:
    """One head a dimension, in the taxonomy's order and with its scales."""
    return tuple(Head(name=each.name, scale=each.scale) for each in taxonomy.dimensions)


def read_settings(folder: str | Path) -> ScorerSettings:
    """Reads the settings of a classifier's folder, exported or not.

    Raises:
        InputError: The folder holds no classifier of ours, or a broken one.
    """
    path = Path(folder) / CONFIG
    try:
        config: Any = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"is no scorer: it holds no {CONFIG}", path=folder) from None
    except NotADirectoryError:
        raise InputError("is a file; a scorer is a folder", path=folder) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    except (ValueError, RecursionError):
        raise InputError("is no JSON in UTF-8", path=path) from None
    return parse_settings(config, path)


def parse_settings(config: Any, path: str | Path | None = None) -> ScorerSettings:
    """The settings inside a parsed `config.json`.

    Raises:
        InputError: There are none, or they are broken.
    """
    found = config.get("flames") if isinstance(config, dict) else None
    if not isinstance(found, dict):
        hint = "train one with `flames scorer train` or import one with `flames scorer import`"
        raise InputError(f"is no scorer of Flames (no `flames` entry); {hint}", path=path)
    try:
        return ScorerSettings.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(["flames", *(str(part) for part in first["loc"])])
        raise InputError(f"is broken: {first['msg']}", path=path, field=field) from None


def write_settings(folder: str | Path, settings: ScorerSettings) -> None:
    """Replaces the settings in a folder's `config.json`; the rest of it stays as it is."""
    from flames.storage.atomic import write_atomic

    path = Path(folder) / CONFIG
    config = json.loads(path.read_text("utf-8"))
    config["flames"] = settings.model_dump(mode="json", by_alias=True)
    write_atomic(path, json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
