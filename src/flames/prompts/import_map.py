"""How the rows of somebody's prompt set become prompts: a TOML file that users read and change."""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator

from flames.errors import InputError, UsageError
from flames.records import Expected, Frozen
from flames.storage.published import Published
from flames.storage.text_files import read_text
from flames.taxonomy import Taxonomy, Text

Columns = tuple[str, ...]
"""Names that a column may have; the first that a row has is taken."""

ENDING = ".toml"
_SHORT = re.compile(r"[(（][^)）]*[)）]$")
_NOTHING = re.compile(r"[\s_\-‐-―·,，、:：]+")


class Target(NamedTuple):
    """Where a class belongs: a dimension and perhaps a subcomponent, under the taxonomy's names."""

    dimension: str
    subcomponent: str | None = None


class Classes(Frozen, extra="forbid"):
    """Classes of a source and where they belong: `Dimension/Subcomponent`, or nowhere."""

    to: str = ""
    names: Annotated[tuple[str, ...], Field(alias="from", min_length=1)]
    why: Text | None = None

    @field_validator("why", mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return {"zh": value, "en": value} if isinstance(value, str) else value


class Join(Frozen, extra="forbid"):
    """Further files with columns that the rows lack, found by a column that both have.

    A file that is one object has the values of that column as its keys.
    """

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    rows: bool = False  # whether these files are prompts themselves, too


class Choices(Frozen, extra="forbid"):
    """How a multiple-choice question is asked: `{question}` and `{options}` are filled in.

    Args:
        first: The number of the first option in the source's answers, where these are numbers.
        inside: Whether the options stand in the question, a line each (`A. …`).
    """

    template: str
    first: Literal[0, 1] = 0
    inside: bool = False

    @field_validator("template")
    @classmethod
    def _fillable(cls, template: str) -> str:
        if "{question}" not in template or "{options}" not in template:
            raise ValueError("must contain {question} and {options}")
        return template


class Fields(Frozen, extra="forbid"):
    """The columns of a source that hold our fields, each a name or several to try in turn.

    `class` lists a column per level, the widest first.
    """

    prompt: Columns = ("prompt",)
    id: Columns = ()
    class_: Annotated[tuple[Columns, ...], Field(alias="class")] = ()
    technique: Columns = ()
    language: Columns = ()
    expected: Columns = ()
    history: Columns = ()
    system: Columns = ()
    options: Columns = ()
    answer: Columns = ()

    @field_validator("class_", mode="before")
    @classmethod
    def _levels(cls, value: Any) -> Any:
        levels = [value] if isinstance(value, str) else value
        if not isinstance(levels, list | tuple):
            return levels
        return tuple((level,) if isinstance(level, str) else tuple(level) for level in levels)

    @field_validator("*", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class ImportMap(Frozen, extra="forbid"):
    """How to import one source.

    Args:
        names: Patterns of file names that are read in a folder; those of `files` by default.
        encodings: Tried in turn for text files.
        unfold: The field of a row that holds a list of the true rows; `*` for every field with a
            list. The other fields of the outer row are then `above.NAME`, the field's own name
            `above.key`.
        json_columns: Columns whose cells hold JSON.
        also: Further columns that prompts keep, under their own names.
        separator: What stands between several classes in one cell.
        levels: What stands between the levels of a class in one cell.
        include: Tables of classes that are shared by several sources.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    title: str = ""
    licence: str = ""
    language: str | None = None
    expected: Expected | None = None
    repository: str = ""
    commit: str = ""
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    encodings: tuple[str, ...] = ("utf-8",)
    unfold: str | None = None
    json_columns: Annotated[tuple[str, ...], Field(alias="json")] = ()
    also: tuple[str, ...] = ()
    separator: str | None = None
    levels: str | None = None
    include: tuple[str, ...] = ()
    fields: Fields = Fields()
    join: Join | None = None
    choices: Choices | None = None
    classes: tuple[Classes, ...] = ()

    @property
    def published(self) -> Published | None:
        """Where the source is published; None where only the user knows."""
        if not self.repository or not self.files:
            return None
        return Published(
            name=self.name, repository=self.repository, commit=self.commit, files=self.files
        )

    @cached_property
    def by_class(self) -> Mapping[str, Classes]:
        """The classes by their names, variants folded together."""
        own = {folded(name): group for group in self.classes for name in group.names}
        shared = {
            folded(name): group
            for table in self.include
            for group in shared_classes(table)
            for name in group.names
        }
        return shared | own

    def group_of(self, path: Sequence[str]) -> Classes | None:
        """Returns the group of a class: of its whole path, its last level, or one above, if any."""
        levels = [folded(level) for level in path]
        for end in range(len(levels), 0, -1):
            for name in ("/".join(levels[:end]), levels[end - 1]):
                if name in self.by_class:
                    return self.by_class[name]
        return None


def folded(name: str) -> str:
    """Returns the name of a class without what makes no difference between two sources.

    Width, case, spaces and signs between words, a short form in brackets, the word 内容 at the end,
    and whether rights are 侵害 or 侵犯.
    """
    parts = []
    for part in name.split("/"):
        plain = _SHORT.sub("", unicodedata.normalize("NFKC", part).strip()).casefold()
        plain = _NOTHING.sub("", plain.replace("&", "and")).replace("侵害", "侵犯")
        parts.append(plain.removesuffix("内容") or plain)
    return "/".join(parts)


def target_of(text: str, taxonomy: Taxonomy) -> Target | None:
    """Reads `Dimension/Subcomponent` or `Dimension`; an empty text is None."""
    dimension, _, part = (piece.strip() for piece in text.partition("/"))
    if not dimension:
        return None
    found = taxonomy.dimension(dimension)
    return Target(found.name, found.subcomponent(part).name if part else None)


def _folder() -> Path:
    return Path(str(resources.files("flames").joinpath("data", "importers")))


@cache
def importer_names() -> tuple[str, ...]:
    """Returns the names of the bundled importers."""
    return tuple(sorted(path.stem for path in _folder().glob("*" + ENDING)))


def importer_path(name: str) -> Path:
    """Returns the file of a bundled importer."""
    if name in importer_names():
        return _folder() / (name + ENDING)
    close = difflib.get_close_matches(name, importer_names(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(importer_names())}"
    raise UsageError(f"no importer {name!r}; {hint}")


def load_map(path: str | Path, taxonomy: Taxonomy) -> ImportMap:
    """Reads a file of this kind; its targets must be those of the taxonomy."""
    data = _toml(path)
    try:
        found = ImportMap.model_validate(data)
    except ValidationError as error:
        raise InputError.invalid(error, "is no usable mapping", path) from None
    for group in dict.fromkeys(found.by_class.values()):
        try:
            target_of(group.to, taxonomy)
        except InputError as error:
            raise InputError(f"[[classes]] to = {group.to!r}: {error}", path=path) from None
    return found


@cache
def shared_classes(table: str) -> tuple[Classes, ...]:
    """Returns a bundled table of classes that several sources share."""
    path = _folder() / "classes" / (table + ENDING)
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in path.parent.glob("*" + ENDING)))
        raise InputError(f"include = {table!r}: no such table of classes; there are: {names}")
    return tuple(map(Classes.model_validate, _toml(path)["classes"]))


def _toml(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is no TOML: {error}", path=path) from None
