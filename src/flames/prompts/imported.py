"""What an import gave: prompts, and every other row with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, NamedTuple, get_args

from flames.prompts.import_map import ImportMap, Target
from flames.records import Prompt
from flames.storage.unusable import usable
from flames.taxonomy import Taxonomy, Text

Why = Literal["no counterpart", "unknown class", "no class", "no text", "repeated", "bad options",
              "bad answer"]  # fmt: skip
"""Why a row became no prompt."""

WHYS: tuple[Why, ...] = get_args(Why)


class LeftRow(NamedTuple):
    """A row that became no prompt; `of` is the id of the prompt that it repeats."""

    file: str
    line: int
    why: Why
    source_class: str
    row: Mapping[str, Any]
    of: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the row and what became of it, for one line of a file."""
        known = {"source_class": self.source_class or None, "repeats": self.of}
        head = {"file": self.file, "line": self.line, "why": self.why, **known}
        row = {name: _written(value) for name, value in usable(self.row, ()).items()}
        return {name: value for name, value in head.items() if value is not None} | {"row": row}


def _written(value: Any) -> Any:
    """Returns a value as JSON can hold it: dates, bytes and the like as text, NaN as nothing."""
    if isinstance(value, Mapping):
        return {str(name): _written(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


@dataclass
class ClassCount:
    """What became of the rows of one class; `target` is None where it has no place."""

    name: str
    target: Target | None
    known: bool
    rows: int = 0
    kept: int = 0
    why: Text | None = None


@dataclass(frozen=True)
class ImportedFile:
    """A file that was read, with its checksum and how many rows it has."""

    name: str
    sha256: str
    rows: int


@dataclass
class Imported:
    """What an import gave: `rows` is the sum of the prompts and of the rows that were left."""

    spec: ImportMap
    files: list[ImportedFile] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    left: list[LeftRow] = field(default_factory=list)
    classes: dict[str, ClassCount] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the files have."""
        return len(self.prompts) + len(self.left)

    @property
    def reasons(self) -> dict[Why, int]:
        """How many rows were left, by reason."""
        counts = Counter(each.why for each in self.left)
        return {why: counts[why] for why in WHYS if counts[why]}

    @property
    def questions(self) -> int:
        """How many prompts are multiple choice."""
        return sum("options" in prompt.extra for prompt in self.prompts)

    @property
    def unanswered(self) -> int:
        """How many of these name no right answer."""
        extras = (prompt.extra for prompt in self.prompts)
        return sum("options" in extra and "answer" not in extra for extra in extras)

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as `flames prompts import --json` prints them."""
        spec = self.spec
        return {
            "schema": 1,
            "name": spec.name,
            "title": spec.title,
            "licence": spec.licence,
            "repository": spec.repository or None,
            "commit": spec.commit or None,
            "files": [vars(each) for each in self.files],
            "rows": self.rows,
            "kept": len(self.prompts),
            "left": dict(self.reasons),
            "multiple_choice": self.questions,
            "without_answer": self.unanswered,
            "classes": [
                {
                    "class": each.name,
                    "rows": each.rows,
                    "kept": each.kept,
                    "dimension": each.target.dimension if each.target else None,
                    "subcomponent": each.target.subcomponent if each.target else None,
                    "known": each.known,
                    "why": each.why.en if each.why else None,
                }
                for each in self.classes.values()
            ],
        }


def own_taxonomy(done: Imported) -> Taxonomy:
    """Returns the taxonomy whose dimensions are the classes of a source."""
    parts: dict[str, dict[str, None]] = {}
    for prompt in done.prompts:
        named = parts.setdefault(prompt.dimension, {})
        if prompt.subcomponent:
            named[prompt.subcomponent] = None
    return Taxonomy.model_validate(
        {
            "schema": 1,
            "name": done.spec.name,
            "dimensions": [
                {
                    "name": name,
                    "label": {"zh": name, "en": name},
                    "scale": [3, 2, 1],
                    "subcomponents": [
                        {"name": part, "label": {"zh": part, "en": part}} for part in named
                    ],
                }
                for name, named in parts.items()
            ],
        }
    )
