"""Checking a prompt set as a whole: everything that is wrong with it, not only the first thing."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flames.errors import InputError
from flames.records import Prompt
from flames.storage.record_files import ReadOptions, read_prompts
from flames.taxonomy import Taxonomy, default_taxonomy

_NEAR = 0.8
_GRAM = 3
_COMMON = 200
"""Grams that stand in more prompts than this ("怎么办") do not make two prompts candidates."""


class NearDuplicate(NamedTuple):
    """Two prompts that are almost the same; `similarity` is the Jaccard index of 3-grams."""

    first: str
    second: str
    similarity: float


@dataclass
class PromptCheck:
    """What `check_prompts` found.

    `errors` make the set unusable (a broken row, an unknown label, the same prompt twice);
    near duplicates and missing dimensions are told, not held against it.
    """

    prompts: list[Prompt] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)
    near_duplicates: list[NearDuplicate] = field(default_factory=list)
    missing_dimensions: tuple[str, ...] = ()
    subcomponents: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether the set can be used."""
        return not self.errors


def check_prompts(
    path: str | os.PathLike[str],
    *,
    taxonomy: Taxonomy | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> PromptCheck:
    """Reads a file of prompts to its end and tells all that is wrong with it.

    Args:
        path: The file.
        taxonomy: What dimensions and subcomponents are looked up in; Flames' own unless given.
        mapping: Our field name → the file's.
        encoding: Of the file; UTF-8 unless given.
    """
    taxonomy = taxonomy or default_taxonomy()
    options = ReadOptions(taxonomy=taxonomy, mapping=mapping or {}, encoding=encoding)
    check = PromptCheck()
    try:
        check.prompts.extend(read_prompts(path, options, on_error=check.errors.append))
    except InputError as error:  # the file itself: nothing after this place can be read
        check.errors.append(error)
    if not check.prompts:
        check.errors = _alike(check.errors) or [InputError("holds no prompts", path=path)]
    there = {prompt.dimension for prompt in check.prompts}
    check.missing_dimensions = tuple(name for name in taxonomy.names if name not in there)
    check.subcomponents = Counter(
        (prompt.dimension, prompt.subcomponent or "") for prompt in check.prompts
    )
    check.near_duplicates = near_duplicates(check.prompts)
    return check


def _alike(errors: list[InputError]) -> list[InputError]:
    """The first error alone, if every row has the same: it is one about the file's columns."""
    return errors[:1] if len({(error.field, error.message) for error in errors}) == 1 else errors


def near_duplicates(prompts: Sequence[Prompt], threshold: float = _NEAR) -> list[NearDuplicate]:
    """Pairs of prompts whose 3-grams overlap by at least `threshold`, most alike first."""
    grams = [_grams(prompt.text) for prompt in prompts]
    holders: dict[str, list[int]] = defaultdict(list)
    for index, own in enumerate(grams):
        for gram in own:
            holders[gram].append(index)
    found: list[NearDuplicate] = []
    for index, own in enumerate(grams):
        shared: Counter[int] = Counter()
        for gram in own:
            if len(holders[gram]) <= _COMMON:
                shared.update(other for other in holders[gram] if other < index)
        for other in shared:
            both = len(own & grams[other])
            similarity = both / (len(own) + len(grams[other]) - both)
            if similarity >= threshold:
                pair = NearDuplicate(prompts[other].id, prompts[index].id, similarity)
                found.append(pair)
    return sorted(found, key=lambda pair: (-pair.similarity, pair))


def _grams(text: str) -> frozenset[str]:
    plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold()) or text
    return frozenset(plain[i : i + _GRAM] for i in range(max(1, len(plain) - _GRAM + 1)))
