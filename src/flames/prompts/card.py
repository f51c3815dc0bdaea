"""The card of a prompt set: `card.yaml` beside its file, saying what the set is and holds.

name: ours
version: '1.0'
licence: CC-BY-4.0
languages: [zh]
origin: written by our red team in November 2026
file: prompts.jsonl
counts: {prompts: 2, dimensions: {Safety: 2}}
sha256: …        # of the file
ids_sha256: …    # of the prompts' ids: equal for equal prompts in whatever file
canary: …        # a GUID that is also in every row of the file
changelog:
- {version: '1.0', date: '2026-11-29', changes: first version}
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import date as Date  # noqa: N812  (the model has a field of that name)
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator

from flames.errors import InputError
from flames.records import Frozen, Prompt, canary_in, ids_sha256
from flames.storage.rows import read_rows
from flames.storage.text_files import read_text

CARD = "card.yaml"
_LIMIT = 2**20  # characters of a card
_NAME = re.compile(r"\w[\w.+-]{0,79}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,39}")
_SHA256 = r"^[0-9a-f]{64}$"
_GUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text.endswith("."):
        raise ValueError("must be letters, digits and . _ + -, at most 80 of them")
    return text


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError("must be Latin letters, digits and . _ + -, at most 40 of them")
    return text


def _plain_file(text: str) -> str:
    if Path(text).name != text or text in (".", ".."):
        raise ValueError("must be the name of a file in the same folder")
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Words = Annotated[str, AfterValidator(_filled)]


class Change(Frozen, extra="allow"):
    """What a version changed; `date` is an ISO 8601 day."""

    version: Annotated[str, AfterValidator(_version)]
    date: str
    changes: Words

    @field_validator("date")
    @classmethod
    def _is_day(cls, text: str) -> str:
        Date.fromisoformat(text)
        return text


class Counts(Frozen, extra="allow"):
    """How many prompts a set holds, in all and by label; labels that no prompt has are not there.

    A prompt without a subcomponent, technique or expectation is in none of those counts.
    """

    prompts: Annotated[int, Field(ge=1)]
    dimensions: dict[str, int] = Field(default_factory=dict)
    subcomponents: dict[str, int] = Field(default_factory=dict)
    techniques: dict[str, int] = Field(default_factory=dict)
    expected: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Counts:
        """Counts prompts."""

        def by(field: str) -> dict[str, int]:
            return dict(Counter(v for p in prompts if (v := getattr(p, field)) is not None))

        return cls(
            prompts=len(prompts),
            dimensions=by("dimension"),
            subcomponents=by("subcomponent"),
            techniques=by("technique"),
            expected=by("expected"),
        )


class Card(Frozen, extra="allow"):
    """What a version of a prompt set is. Unknown fields are carried along.

    `url` is where the file is published, for a set that its user fetches. `file` is beside the
    card. `canary` is a GUID that the rows carry too (see `with_canary`).
    """

    name: Annotated[str, AfterValidator(_name)]
    version: Annotated[str, AfterValidator(_version)]
    title: str | None = None
    licence: Words
    languages: Annotated[tuple[Words, ...], Field(min_length=1)]
    origin: Words
    file: Annotated[str, AfterValidator(_plain_file)] = "prompts.jsonl"
    url: str | None = None
    counts: Counts
    sha256: Annotated[str, Field(pattern=_SHA256)]
    ids_sha256: Annotated[str, Field(pattern=_SHA256)] | None = None
    canary: Annotated[str, Field(pattern=_GUID)] | None = None
    changelog: tuple[Change, ...] = ()

    @property
    def full_name(self) -> str:
        """The set's name with its version, `ours@1.0`."""
        return f"{self.name}@{self.version}"

    def to_yaml(self) -> str:
        """Returns the card as it is written to a file."""
        data = self.model_dump(mode="json", exclude_none=True)
        data["counts"] = {name: value for name, value in data["counts"].items() if value}
        return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=100)


class _CardLoader(yaml.SafeLoader):
    """Reads every value as text: `1.10` is no number, `no` (Norwegian) is not False."""

    yaml_implicit_resolvers: Mapping[str, Any] = {}  # type: ignore[assignment]

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Composes a node, but no alias, which can make a small file huge."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*…) are not taken", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Constructs a mapping in which each key stands once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                mark = node.value[place][0].start_mark
                problem = f"the field {key!r} stands here twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        return super().construct_mapping(node, deep)


def read_card(folder: str | os.PathLike[str]) -> Card:
    """Reads the card of a folder.

    Raises:
        InputError: There is no card, it is no YAML, or a field is missing or wrong.
    """
    path = os.path.join(folder, CARD)
    if not os.path.isfile(path):
        message = f"is a directory without a {CARD}, no prompt set"
        raise InputError(message, path=folder)
    text = read_text(path)
    if len(text) > _LIMIT:
        raise InputError(f"is too long for a card: {len(text):,} characters", path=path)
    try:
        data = _CardLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(f"is no YAML: {error.problem}", path=path, line=line) from None
    except yaml.YAMLError as error:
        raise InputError(f"is no YAML: {' '.join(str(error).split())}", path=path) from None
    except RecursionError:
        raise InputError("is YAML nested too deep", path=path) from None
    if not isinstance(data, dict):
        raise InputError("is no card: it must hold fields, such as name: and version:", path=path)
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise InputError.invalid(error, "is wrong in the card", path) from None


def card_mismatches(
    card: Card, prompts: Sequence[Prompt], sha256: str, canaries: Mapping[str | None, int]
) -> Iterator[InputError]:
    """Yields what a card says otherwise than its file, a line each.

    Args:
        sha256: The checksum of the file.
        canaries: How many rows carry which canary, from `canaries_in`.
    """

    def told(field: str, said: object, found: object) -> InputError:
        return InputError(f"the card says {said}, the file has {found}", field=field)

    if sha256 != card.sha256:
        yield told("sha256", f"{card.sha256[:12]}…", f"{sha256[:12]}…")
    ids = ids_sha256(prompts)
    if card.ids_sha256 is not None and ids != card.ids_sha256:
        yield told("ids_sha256", f"{card.ids_sha256[:12]}…", f"{ids[:12]}…")
    said, found = card.counts, Counts.of(prompts)
    if said.prompts != found.prompts:
        yield told("counts.prompts", said.prompts, found.prompts)
    for field in ("dimensions", "subcomponents", "techniques", "expected"):
        ours, theirs = getattr(said, field), getattr(found, field)
        for label in dict.fromkeys((*ours, *theirs)) if ours else ():
            if ours.get(label, 0) != theirs.get(label, 0):
                field_name = f"counts.{field}.{label}"
                yield told(field_name, ours.get(label, 0), theirs.get(label, 0))
    bare = sum(n for canary, n in canaries.items() if canary is None)
    if card.canary is not None and bare:
        yield InputError(f"{bare:,} rows of the file carry no canary", field="canary")
    if card.changelog and card.changelog[-1].version != card.version:
        message = f"ends with version {card.changelog[-1].version}, the card is of {card.version}"
        yield InputError(message, field="changelog")


def canaries_in(path: str | os.PathLike[str], encoding: str | None = None) -> Counter[str | None]:
    """Counts the rows of a file by their canary, None for rows without one."""
    found: Counter[str | None] = Counter()
    for _, fields in read_rows(path, encoding=encoding):
        found[canary_in(fields)] += 1
    return found
