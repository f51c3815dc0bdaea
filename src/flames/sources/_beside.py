"""Several sources side by side: what they are called, and which of their prompts are not one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from flames.records import Prompt
from flames.sources._source import Source
from flames.text import bare, differ, shorten


def names_of(sources: Sequence[Source], *, beside_scorers: bool = False) -> list[str]:
    """What sources are called side by side: their models; where that is not enough, their files.

    Args:
        sources: All that are shown.
        beside_scorers: Each name is shown with its scorer, which tells it apart, too.
    """
    candidates = (
        [source.model for source in sources],
        [source.label for source in sources],
        [f"{source.origin.name} ({source.model})" for source in sources],
        [
            f"{source.origin.parent.name}/{source.origin.name} ({source.model})"
            for source in sources
        ],
        [f"{source.origin.name} ({source.label})" for source in sources],
    )
    scorers = [source.scorer if beside_scorers else "" for source in sources]
    for names in candidates:
        if len(set(zip(names, scorers, strict=True))) == len(names):
            return names
    return [f"{number}: {name}" for number, name in enumerate(candidates[-1], start=1)]


def reworded(first: Mapping[str, Prompt], second: Mapping[str, Prompt]) -> list[str]:
    """The ids that stand for prompts of another text on either side, in the first one's order."""
    return [
        known
        for known, prompt in first.items()
        if known in second and differ(prompt.text, second[known].text)
    ]


def reworded_notes(sources: Sequence[Source]) -> list[tuple[str, ...]]:
    """For each source a note where its ids stand for prompts of another text in another one."""
    texts: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for known, prompt in source.prompts.items():
            texts[known].add(bare(prompt.text))
    apart = {known for known, found in texts.items() if len(found - {""}) > 1}
    return [_note([known for known in source.prompts if known in apart]) for source in sources]


def _note(ids: Sequence[str]) -> tuple[str, ...]:
    if not ids:
        return ()
    what = f"{len(ids):,} prompts have another text under the same id in another file"
    return (f"{what} of this report, like {shorten(ids[0])}",)
