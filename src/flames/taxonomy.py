"""The taxonomy: dimensions, their subcomponents, scales and names; from a file, or Flames' own."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from flames.errors import InputError
from flames.options import CheckedOptions, Opt
from flames.records import Frozen
from flames.text import shorten

Language = Literal["zh", "en"]

_SEPARATORS = re.compile(r"[\s_\-‐-―/&·]+")


@lru_cache(maxsize=1024)  # every row of a file names its dimension
def _key(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()


class Text(Frozen, extra="forbid"):
    """A text in Chinese and English."""

    zh: str
    en: str

    def __call__(self, lang: Language) -> str:
        """Returns the text in a language."""
        return self.zh if lang == "zh" else self.en


class Level(Frozen, extra="forbid"):
    """The meaning of a score."""

    score: Annotated[int, Field(gt=0)]
    name: Text
    definition: Text | None = None


class Example(Frozen, extra="forbid"):
    """A prompt, a response and its correct score."""

    prompt: Text
    response: Text
    score: int


class Subcomponent(Frozen, extra="forbid"):
    """A part of a dimension, with the meaning of each score, and rulings on what often comes up."""

    name: str
    label: Text
    aliases: tuple[str, ...] = ()
    definition: Text | None = None
    rubric: dict[int, Text] = Field(default_factory=dict)
    rulings: tuple[Text, ...] = ()


class Dimension(Frozen, extra="forbid"):
    """A human value that is measured, with its own scale.

    `scale` lists the scores from best to worst, which is also the order of the classes of a
    classifier head: class 0 is the best score.
    """

    name: str
    label: Text
    aliases: tuple[str, ...] = ()
    scale: tuple[Annotated[int, Field(gt=0)], ...]
    definition: Text | None = None
    rulings: tuple[Text, ...] = ()
    subcomponents: tuple[Subcomponent, ...] = ()
    examples: tuple[Example, ...] = ()

    @field_validator("scale")
    @classmethod
    def _falling(cls, scale: tuple[int, ...]) -> tuple[int, ...]:
        if len(scale) < 2 or any(a <= b for a, b in pairwise(scale)):
            raise ValueError("must list at least two scores from best to worst, like [3, 2, 1]")
        return scale

    @property
    def best(self) -> int:
        """The score of a harmless response."""
        return self.scale[0]

    @cached_property
    def _by_key(self) -> dict[str, Subcomponent]:
        return _index(self.subcomponents, f"subcomponents of {self.name}")

    def subcomponent(self, name: str) -> Subcomponent:
        """Returns the subcomponent of that name or alias."""
        return _find(name, self._by_key, f"subcomponent of {self.name}")

    def rulings_on(self, part: Subcomponent | None) -> tuple[Text, ...]:
        """Returns the rulings that judges and annotators follow in a part, or in the whole."""
        return (part.rulings if part is not None else ()) + self.rulings


_Named = TypeVar("_Named", Dimension, Subcomponent)


class Taxonomy(Frozen, extra="forbid"):
    """A set of dimensions. `load_taxonomy` reads one from a file."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    version: str = "1"
    title: Text | None = None
    levels: tuple[Level, ...] = ()
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Taxonomy:
        _index(self.dimensions, "dimensions")
        for dimension in self.dimensions:
            _index(dimension.subcomponents, f"subcomponents of {dimension.name}")
            for example in dimension.examples:
                if example.score not in dimension.scale:
                    raise ValueError(f"an example of {dimension.name} has a score off its scale")
        return self

    @cached_property
    def _by_key(self) -> dict[str, Dimension]:
        return _index(self.dimensions, "dimensions")

    @property
    def id(self) -> str:
        """Name and version, as reports and model cards cite it."""
        return f"{self.name}@{self.version}"

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions' names, in order."""
        return tuple(dimension.name for dimension in self.dimensions)

    def dimension(self, name: str) -> Dimension:
        """Returns the dimension of that name or alias; case, spaces, `_` and `-` do not matter."""
        return _find(name, self._by_key, "dimension")

    def score_named(self, name: str) -> int | None:
        """Returns the score of a level by its name in either language, or None."""
        wanted = _key(name)
        names = ((each.score, _key(each.name.zh), _key(each.name.en)) for each in self.levels)
        return next((score for score, *known in names if wanted in known), None)

    def level(self, score: int, lang: Language = "en") -> str:
        """Returns the name of a score, for people."""
        return next((each.name(lang) for each in self.levels if each.score == score), str(score))


def _index(items: tuple[_Named, ...], what: str) -> dict[str, _Named]:
    found: dict[str, _Named] = {}
    item: _Named
    for item in items:
        for name in (item.name, item.label.zh, item.label.en, *item.aliases):
            if found.setdefault(_key(name), item) is not item:
                raise ValueError(f"two {what} have the name {name!r}")
    return found


def _find(name: str, by_key: dict[str, _Named], what: str) -> _Named:
    found = by_key.get(_key(name))
    if found is not None:
        return found
    names = list(dict.fromkeys(item.name for item in by_key.values()))
    close = difflib.get_close_matches(_key(name), by_key, n=1, cutoff=0.75)
    hint = f"did you mean {by_key[close[0]].name!r}?" if close else "one of: " + ", ".join(names)
    raise InputError(f"unknown {what} {shorten(name)!r}; {hint}")


@cache
def default_taxonomy() -> Taxonomy:
    """Returns the Flames taxonomy: 5 dimensions, 12 subcomponents (NAACL 2024 benchmark)."""
    text = resources.files("flames").joinpath("data/taxonomy.json").read_text("utf-8")
    return Taxonomy.model_validate_json(text)


def load_taxonomy(path: str | Path | None = None) -> Taxonomy:
    """Reads a taxonomy file (JSON); without a path, Flames' own."""
    if path is None:
        return default_taxonomy()
    try:
        data: Any = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    except json.JSONDecodeError as error:
        raise InputError(f"is no JSON: {error.msg}", path=path, line=error.lineno) from None
    except (ValueError, RecursionError):
        raise InputError("is no JSON in UTF-8", path=path) from None
    try:
        return Taxonomy.model_validate(data)
    except ValidationError as error:
        raise InputError.invalid(error, "is no usable taxonomy", path) from None


@dataclass(frozen=True)
class TaxonomyOptions(CheckedOptions):
    """The taxonomy that the user wants."""

    taxonomy: Annotated[
        Path | None, Opt("Taxonomy file (JSON); Flames' own taxonomy unless given.", metavar="FILE")
    ] = None
