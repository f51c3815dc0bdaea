"""What two versions of a prompt set differ in: added, removed, reworded, relabelled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flames.prompts.likeness import grams_of, jaccard, like_pairs
from flames.prompts.sets import PromptSet
from flames.records import Prompt, PromptSetInfo
from flames.text import normalize_text

LABELS = ("dimension", "subcomponent", "technique", "expected")
"""The fields of a prompt that say what it is for."""

_SIMILAR = 0.35  # share of 3-grams from which a text is another wording


@dataclass(frozen=True)
class PromptPair:
    """A prompt of the old set and its counterpart in the new one.

    `similarity` is the share of 3-grams (Jaccard) that both texts hold, 1 for equal ones.
    """

    old: Prompt
    new: Prompt
    similarity: float

    @property
    def reworded(self) -> bool:
        """Whether the text or what comes before it is another one, spaces around it aside."""
        return self.old.asked.differs(self.new.asked)

    @property
    def renamed(self) -> bool:
        """Whether the id is another one although the text is the same."""
        return self.old.id != self.new.id and not self.reworded

    @property
    def labels(self) -> dict[str, tuple[str | None, str | None]]:
        """The labels that differ: old and new."""
        pairs = {name: (getattr(self.old, name), getattr(self.new, name)) for name in LABELS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class PromptDiff:
    """The difference of two sets; every prompt of either is in exactly one place.

    `pairs` are those that both hold, in the order of the new set; `changed` picks what differs.
    """

    old: PromptSetInfo
    new: PromptSetInfo
    added: tuple[Prompt, ...]
    removed: tuple[Prompt, ...]
    pairs: tuple[PromptPair, ...]

    @property
    def reworded(self) -> tuple[PromptPair, ...]:
        """The prompts with another text."""
        return tuple(pair for pair in self.pairs if pair.reworded)

    @property
    def relabelled(self) -> tuple[PromptPair, ...]:
        """The prompts with another label, reworded or not."""
        return tuple(pair for pair in self.pairs if pair.labels)

    @property
    def renamed(self) -> tuple[PromptPair, ...]:
        """The prompts with another id and the same text."""
        return tuple(pair for pair in self.pairs if pair.renamed)

    @property
    def unchanged(self) -> int:
        """How many prompts are the same in text, labels and id."""
        changed = sum(bool(pair.reworded or pair.labels or pair.renamed) for pair in self.pairs)
        return len(self.pairs) - changed

    def to_dict(self) -> dict[str, Any]:
        """Returns the difference as JSON shows it."""
        return {
            "schema": 1,
            "old": self.old.model_dump(),
            "new": self.new.model_dump(),
            "unchanged": self.unchanged,
            "added": [prompt.to_dict() for prompt in self.added],
            "removed": [prompt.to_dict() for prompt in self.removed],
            "reworded": [
                {
                    "old_id": pair.old.id,
                    "new_id": pair.new.id,
                    "old": pair.old.asked.whole,
                    "new": pair.new.asked.whole,
                    "similarity": round(pair.similarity, 4),
                }
                for pair in self.reworded
            ],
            "relabelled": [
                {
                    "old_id": pair.old.id,
                    "new_id": pair.new.id,
                    **{name: {"old": old, "new": new} for name, (old, new) in pair.labels.items()},
                }
                for pair in self.relabelled
            ],
            "renamed": [{"old_id": p.old.id, "new_id": p.new.id} for p in self.renamed],
        }


def diff_prompts(old: PromptSet, new: PromptSet) -> PromptDiff:
    """Compares two sets: by id, then by text, then by likeness of the rest, best match first.

    The comparison the other way round has the same pairs, with added and removed exchanged.
    """
    rest_old = {prompt.id: prompt for prompt in old.prompts}
    rest_new = {prompt.id: prompt for prompt in new.prompts}
    found: dict[str, PromptPair] = {}  # by the new id

    def pair(one: Prompt, other: Prompt, similarity: float) -> None:
        found[other.id] = PromptPair(one, other, similarity)
        del rest_old[one.id], rest_new[other.id]

    for name in [name for name in rest_new if name in rest_old]:
        one, other = rest_old[name], rest_new[name]
        # numbers are given anew in many a file: one id is one prompt only where texts are alike
        if (similarity := jaccard(grams_of(one.text), grams_of(other.text))) >= _SIMILAR:
            pair(one, other, similarity)
    by_text: dict[tuple[str, str], list[Prompt]] = defaultdict(list)
    for prompt in rest_old.values():
        by_text[normalize_text(prompt.text), prompt.asked.context].append(prompt)
    for prompt in list(rest_new.values()):
        if same := by_text[normalize_text(prompt.text), prompt.asked.context]:
            pair(same.pop(0), prompt, 1.0)
    for similarity, one, other in _alike(list(rest_old.values()), list(rest_new.values())):
        if one.id in rest_old and other.id in rest_new:
            pair(one, other, similarity)
    return PromptDiff(
        old.info,
        new.info,
        added=tuple(rest_new.values()),
        removed=tuple(rest_old.values()),
        pairs=tuple(found[prompt.id] for prompt in new.prompts if prompt.id in found),
    )


def _alike(old: Sequence[Prompt], new: Sequence[Prompt]) -> Iterator[tuple[float, Prompt, Prompt]]:
    """Yields pairs that may be one prompt in two wordings, most alike first."""
    texts = [prompt.text for prompt in (*old, *new)]
    candidates: list[tuple[float, tuple[str, str], Prompt, Prompt]] = []
    for first, second, similarity in like_pairs(texts, _SIMILAR, among=len(old)):
        if second >= len(old):
            one, other = old[first], new[second - len(old)]
            ends = (min(one.id, other.id), max(one.id, other.id))
            candidates.append((-similarity, ends, one, other))
    for less, _, one, other in sorted(candidates, key=lambda each: each[:2]):
        yield -less, one, other
