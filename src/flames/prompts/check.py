"""Checks a prompt set as a whole: all problems, not only the first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple

from flames.errors import InputError
from flames.prompts.card import CARD, Card, canaries_in, card_mismatches
from flames.prompts.diversity import diversity
from flames.prompts.known import find_set
from flames.prompts.likeness import grams_of, jaccard, like_pairs
from flames.prompts.sets import PromptSet
from flames.records import Prompt
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_prompts
from flames.taxonomy import Taxonomy, default_taxonomy


class NearDuplicate(NamedTuple):
    """Two prompts that are almost equal; `similarity` is the Jaccard index of 3-grams."""

    first: str
    second: str
    similarity: float


@dataclass
class PromptCheck:
    """The result of `check_prompts`; only `errors` make the set unusable."""

    prompts: list[Prompt] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)
    near_duplicates: list[NearDuplicate] = field(default_factory=list)
    missing_dimensions: tuple[str, ...] = ()
    subcomponents: Counter[tuple[str, str]] = field(default_factory=Counter)
    card: Card | None = None

    @property
    def ok(self) -> bool:
        """Whether the set can be used."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Returns what was found as `flames prompts validate --json` prints it."""
        return {
            "ok": self.ok,
            "name": self.card.name if self.card else None,
            "version": self.card.version if self.card else None,
            "prompts": len(self.prompts),
            "errors": [str(error) for error in self.errors],
            "near_duplicates": [pair._asdict() for pair in self.near_duplicates],
            "missing_dimensions": list(self.missing_dimensions),
            "subcomponents": [
                {"dimension": d, "subcomponent": s or None, "prompts": n}
                for (d, s), n in self.subcomponents.items()
            ],
        }


def count_parts(prompts: Iterable[Prompt]) -> Counter[tuple[str, str]]:
    """Counts prompts by dimension and subcomponent, which is empty where it is not known."""
    return Counter((prompt.dimension, prompt.subcomponent or "") for prompt in prompts)


def count_prompts(prompts: PromptSet, taxonomy: Taxonomy) -> dict[str, Any]:
    """Counts the prompts of a set by label and length, and measures how varied they are."""
    lengths = [len(prompt.text) for prompt in prompts.prompts]
    missing = prompts.missing(taxonomy)
    parts = count_parts(prompts.prompts)
    dimensions = Counter(p.dimension for p in prompts.prompts)
    asked = [prompt.asked for prompt in prompts.prompts]
    return {
        "name": prompts.name,
        "version": prompts.version,
        "sha256": prompts.sha256,
        "ids_sha256": prompts.ids_sha256,
        "prompts": len(prompts.prompts),
        "partial": bool(missing),
        "missing_dimensions": list(missing),
        "dimensions": {
            name: {
                "prompts": n,
                "subcomponents": {s or "–": k for (d, s), k in parts.items() if d == name},
            }
            for name, n in dimensions.items()
        },
        "techniques": dict(Counter(p.technique for p in prompts.prompts if p.technique)),
        "turns": {
            "with_history": sum(bool(each.history) for each in asked),
            "with_system": sum(bool(each.system) for each in asked),
        },
        "characters": {
            "shortest": min(lengths),
            "median": median(lengths),
            "longest": max(lengths),
        },
        "diversity": asdict(diversity([prompt.text for prompt in prompts.prompts])),
    }


def check_prompts(
    path: str | os.PathLike[str],
    *,
    taxonomy: Taxonomy | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> PromptCheck:
    """Reads a file of prompts to its end and collects all problems; arguments as `load_prompts`.

    Of a folder the card is compared with the file too.
    """
    taxonomy = taxonomy or default_taxonomy()
    options = ReadOptions(taxonomy, mapping or {}, encoding, sheet)
    check = PromptCheck()
    known = None
    try:
        known = find_set(os.fspath(path))
        path = known.path if known else path
        check.prompts.extend(read_prompts(path, options, on_error=check.errors.append))
    except InputError as error:  # the file itself: nothing after it can be read
        check.errors.append(error)
    if not check.prompts:
        if len({(error.field, error.message) for error in check.errors}) == 1:
            del check.errors[1:]  # all rows have the same error: the columns are wrong
        check.errors = check.errors or [InputError("holds no prompts", path=path)]
    present = {prompt.dimension for prompt in check.prompts}
    check.missing_dimensions = tuple(name for name in taxonomy.names if name not in present)
    check.subcomponents = count_parts(check.prompts)
    check.near_duplicates = near_duplicates(without_variants(check.prompts))
    if known is not None and check.prompts:
        check.card = known.card
        found = card_mismatches(
            known.card, check.prompts, file_sha256(path), canaries_in(path, encoding)
        )
        check.errors += [each.at(known.folder / CARD, None) for each in found]
    return check


def without_variants(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Returns the prompts that are no variants of others among them, which they must be like."""
    ids = {prompt.id for prompt in prompts}
    return [prompt for prompt in prompts if prompt.variant_of not in ids]


def likeness(
    one: Prompt, other: Prompt, similarity: float, fold: Mapping[int, str] | None = None
) -> float:
    """Returns how alike two prompts are by their last turns, and less if earlier ones differ.

    Args:
        fold: Characters of the earlier turns that are taken for others.
    """
    before = [each.asked.context.translate(fold or {}) for each in (one, other)]
    return min(similarity, jaccard(*map(grams_of, before))) if any(before) else similarity


def near_duplicates(prompts: Sequence[Prompt], threshold: float = 0.8) -> list[NearDuplicate]:
    """Returns the pairs whose 3-grams overlap by at least `threshold`, most alike first."""
    found = [
        NearDuplicate(prompts[first].id, prompts[second].id, whole)
        for first, second, similarity in like_pairs([p.text for p in prompts], threshold)
        if (whole := likeness(prompts[first], prompts[second], similarity)) >= threshold
    ]
    return sorted(found, key=lambda pair: (-pair.similarity, pair))
