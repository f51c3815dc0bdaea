"""From labels of existing prompt sets to the classes of a filing, by a file for all to edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from flames.errors import InputError
from flames.filing.rules import BankName, Rules
from flames.records import Frozen
from flames.storage.text_files import read_json_file


class LabelledSet(Frozen, extra="forbid"):
    """The labels of a prompt set: one code is a class, several are candidates, none says so.

    `label` and `prompt` name the columns that hold a label and the text.
    """

    name: str
    label: Annotated[tuple[str, ...], Field(min_length=1)]
    prompt: tuple[str, ...] = ()
    classes: dict[str, tuple[str, ...]]


class Crosswalk(Frozen, extra="forbid"):
    """The labels of all sets that are known."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    check: str
    sets: tuple[LabelledSet, ...]

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        """The columns in which any of the sets keeps its texts."""
        return tuple(column for each in self.sets for column in each.prompt)


class Place(NamedTuple):
    """Where an item belongs: its class, or candidates for it, and the set whose label says so."""

    code: str | None = None
    candidates: tuple[str, ...] = ()
    by: str | None = None
    label: str | None = None


@cache
def _bundled() -> Crosswalk:
    file = resources.files("flames").joinpath("data/filing/crosswalk.json")
    return read_json_file(Crosswalk, Path(str(file)), "crosswalk")


def load_crosswalk(path: Path | None, rules: Rules) -> Crosswalk:
    """Reads a crosswalk, the bundled one without a path; checks that its classes are known.

    Raises:
        InputError: A label leads to a class that the rules do not have.
    """
    found = _bundled() if path is None else read_json_file(Crosswalk, path, "crosswalk")
    for each in found.sets if path is not None else ():
        for label, codes in each.classes.items():
            if unknown := [code for code in codes if code not in rules.classes]:
                what = f"{each.name}, {label!r}: {unknown[0]!r} is no class of {rules.id}"
                raise InputError(what, path=path, field="classes")
    return found


def place_by_label(
    fields: Mapping[str, Any], crosswalk: Crosswalk, rules: Rules, bank: BankName
) -> Place:
    """Returns the place of a row by the labels of the set that it comes from.

    A label that a set spells as a class does needs no line in the crosswalk. A class that the bank
    does not cover is returned only where no set leads to one that it covers.
    """
    allowed = rules.covered(bank)
    seen = Place()
    for each in crosswalk.sets:
        value = next((fields[c] for c in each.label if isinstance(fields.get(c), str)), None)
        if value is None or not value.strip():
            continue
        label = value.strip()
        codes: Sequence[str] | None = each.classes.get(label)
        if codes is None:
            same = rules.class_of(label)
            codes = None if same is None else (same,)
        kept = tuple(code for code in codes or () if code in allowed)
        if len(kept) == 1 == len(codes or ()):
            return Place(kept[0], by=each.name, label=label)
        if kept:
            return Place(candidates=kept, by=each.name, label=label)
        if seen.by is None:  # perhaps another set knows better
            outside = codes[0] if codes is not None and len(codes) == 1 else None
            seen = Place(outside, by=each.name, label=label)
    return seen
