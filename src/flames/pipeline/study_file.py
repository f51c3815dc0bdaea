"""The file of a study: models, prompt sets and scorers, read from TOML and checked.

models = ["step-2000", "qwen@http://localhost:8000/v1"]
prompts = ["quick", "mine.jsonl"]
scorers = ["default"]
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from flames.errors import InputError
from flames.models.profiles import Currency
from flames.options import listed
from flames.records import Frozen
from flames.scorers.base import Truncated
from flames.storage.text_files import read_text

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, strict=True)]
_Name = Annotated[str, Field(min_length=1)]


class ModelSettings(Frozen, extra="forbid", protected_namespaces=()):
    """How models are asked: what the options of `flames ask` say, under the same names."""

    base_url: str | None = None
    api_key_env: str | None = None
    headers: dict[str, str] | None = None
    timeout: _Above | None = None
    frame: Literal["chat", "qa"] | None = None
    think_tags: tuple[str, ...] | None = None
    stream: bool | None = None
    max_tokens_field: str | None = None
    temperature: _Amount | None = None
    max_tokens: _Count | None = None
    sampling_seed: int | None = None
    extra_body: dict[str, Any] | None = None
    system: str | None = None
    repeats: _Count | None = None
    concurrency: _Count | None = None
    rpm: _Above | None = None
    tpm: _Above | None = None
    retries: Annotated[int, Field(ge=0, strict=True)] | None = None
    patience: _Amount | None = None
    price_in: _Amount | None = None
    price_out: _Amount | None = None
    currency: Currency | None = None
    max_requests: _Count | None = None
    max_cost: _Amount | None = None

    def over(self, defaults: ModelSettings) -> Mapping[str, Any]:
        """Returns what is set here or by the defaults, by name."""
        both = {**dict(defaults), **{n: v for n, v in dict(self).items() if v is not None}}
        return {name: value for name, value in both.items() if value is not None}


class StudyModel(ModelSettings):
    """A model of a study, by any of its names; `name` is what it is recorded under."""

    model: _Name
    name: _Name | None = None


class StudyPrompts(Frozen, extra="forbid"):
    """A prompt set of a study: a set by name or a file; `name` is what it is called."""

    set: _Name
    name: _Name | None = None
    limit: _Count | None = None
    map: dict[str, str] = Field(default_factory=dict)
    encoding: str | None = None
    sheet: str | None = None


class StudyScorer(Frozen, extra="forbid"):
    """A scorer of a study, with its options."""

    scorer: _Name
    options: dict[str, Any] = Field(default_factory=dict)


class StudyBudget(Frozen, extra="forbid"):
    """What all models and judges of a study may use together, in all sessions."""

    max_requests: _Count | None = None
    max_cost: _Amount | None = None


def _entry(key: str) -> BeforeValidator:
    """Takes a plain text for a table with this one key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


_AsList = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
_Some = Field(min_length=1)


class StudyFile(Frozen, extra="forbid"):
    """A whole study."""

    name: _Name | None = None
    models: Annotated[list[Annotated[StudyModel, _entry("model")]], _AsList, _Some]
    prompts: Annotated[list[Annotated[StudyPrompts, _entry("set")]], _AsList, _Some] = Field(
        default_factory=lambda: [StudyPrompts(set="open")]
    )
    scorers: Annotated[list[Annotated[StudyScorer, _entry("scorer")]], _AsList, _Some] = Field(
        default_factory=lambda: [StudyScorer(scorer="default")]
    )
    defaults: ModelSettings = Field(default_factory=ModelSettings)
    budget: StudyBudget = Field(default_factory=StudyBudget)
    repeats: _Count = 1
    seed: int = 0
    truncated: Truncated = "scored"
    taxonomy: str | None = None


_PARTS: dict[str, type[Frozen]] = {
    "models": StudyModel,
    "prompts": StudyPrompts,
    "scorers": StudyScorer,
    "defaults": ModelSettings,
    "budget": StudyBudget,
}


def read_study(path: Path) -> StudyFile:
    """Reads a study; what is wrong is told with its line, an unknown name with the nearest one."""
    text = read_text(path)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        said = re.sub(r"\s*\(at .*\)$", "", str(error))
        raise InputError(
            f"is no TOML: {said}", path=path, line=int(found[1]) if found else None
        ) from None
    try:
        return StudyFile.model_validate(content)
    except ValidationError as error:
        found_all = error.errors(include_url=False)
        unknown = (each for each in found_all if each["type"] == "extra_forbidden")
        first = next(unknown, found_all[0])  # a name spelt wrong leaves another one missing
        place = first["loc"]
        raise InputError(
            _problem(first["type"], place, first["msg"]),
            path=path,
            line=line_of(text, place),
            field=_spelled(place),
        ) from None


def _problem(kind: str, place: tuple[int | str, ...], message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "model_type":
        return "takes a name, or a table of settings"
    if kind != "extra_forbidden":
        return message[:1].lower() + message[1:]
    owner = StudyFile if len(place) == 1 else _PARTS[str(place[0])]
    close = difflib.get_close_matches(str(place[-1]), owner.model_fields, n=1)
    hint = (
        f"did you mean `{close[0]}`?" if close else f"there are {listed(owner.model_fields, 'and')}"
    )
    return f"is no setting; {hint}"


def _spelled(place: tuple[int | str, ...]) -> str:
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([\w\"'.-]+?)\s*=")


def line_of(text: str, place: tuple[int | str, ...]) -> int | None:
    """Finds the line (from 1) of a value in TOML, or that of the nearest thing around it."""
    known = dict(_places(text))
    for length in range(len(place), 0, -1):
        if (found := known.get(place[:length])) is None:
            continue
        lines = text.split("\n")
        for part in place[length:]:  # within a value: the first time that it is written
            wanted = re.compile(rf"(?<![\w-]){re.escape(str(part))}[\"']?\s*=")
            later = range(found - 1, len(lines))
            if isinstance(part, str):
                found = next((n + 1 for n in later if wanted.search(lines[n])), found)
        return found
    return None


def _places(text: str) -> Iterator[tuple[tuple[int | str, ...], int]]:
    table: tuple[int | str, ...] = ()
    counts: dict[str, int] = {}
    for number, written in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(written):
            names: list[int | str] = [part.strip(" \"'") for part in header[2].split(".")]
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], -1) + 1
                names.append(counts[header[2]])
            elif names[0] in counts:
                names.insert(1, counts[str(names[0])])
            table = tuple(names)
            yield table, number
            if header[1] == "[[":
                yield table[:-1], number
        elif key := _KEY.match(written):
            parts = tuple(part.strip("\"'") for part in key[1].split("."))
            yield (*table, *parts), number
