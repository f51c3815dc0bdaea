"""Adding a prompt to a set in a file: whole or not at all, and none that is there already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from flames.errors import UsageError
from flames.prompts.card import CARD
from flames.prompts.doubts import NEAR
from flames.prompts.known import KNOWN_SETS
from flames.prompts.likeness import like_pairs
from flames.records import Prompt
from flames.storage.journal import Journal
from flames.storage.record_files import ReadOptions, read_prompts
from flames.taxonomy import Taxonomy
from flames.text import normalize_text, shorten


def check_addition(path: Path, prompt: Prompt, taxonomy: Taxonomy) -> None:
    """Refuses a file that nothing can be added to, and a prompt that it has or nearly has.

    A prompt may be nearly the same as the one that it is a variant of.
    """
    if os.fspath(path) in KNOWN_SETS:
        raise UsageError(f"{path}: is a set of Flames' own; name a file of yours")
    if path.is_dir() or path.suffix != ".jsonl":
        raise UsageError(f"{path}: prompts are added to a file of JSON Lines, SET.jsonl")
    if (path.parent / CARD).exists():
        raise UsageError(
            f"{path}: is part of a package, which never changes; add to a file of its own, "
            "and pack the next version from that"
        )
    there: list[Prompt] = []
    if path.exists() and path.stat().st_size:
        there = list(read_prompts(path, ReadOptions(taxonomy)))
    if (like := _like(prompt, there)) is not None:
        other, share = like
        what = "the same" if share is None else f"nearly the same ({share:.0%})"
        text = shorten(other.text, 40)
        raise UsageError(f"{path}: not added: {what} as {shorten(other.id, 40)}: {text}")


def add_prompt(path: Path, prompt: Prompt, taxonomy: Taxonomy) -> None:
    """Adds a prompt to a file; see `check_addition` for what is refused.

    One write adds the whole line, under a lock, so that neither a kill nor another writer loses or
    tears anything.
    """
    check_addition(path, prompt, taxonomy)  # before the file is made
    with closing(Journal[None, None](path)) as journal:
        check_addition(path, prompt, taxonomy)
        journal.cut(journal.size)  # only ends a last line that is open
        journal.append(prompt.to_line())


def _like(prompt: Prompt, there: Sequence[Prompt]) -> tuple[Prompt, float | None] | None:
    """Returns a prompt that is the same, or nearly so with the share of 3-grams."""
    text = normalize_text(prompt.text)
    for other in there:
        if other.id == prompt.id or normalize_text(other.text) == text:
            return other, None
    others = [other for other in there if other.id != prompt.variant_of]
    pairs = like_pairs([text, *(other.text for other in others)], NEAR, among=1)
    found = max(pairs, key=lambda pair: pair.similarity, default=None)
    return None if found is None else (others[found.second - 1], found.similarity)
