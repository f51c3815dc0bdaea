"""Sources beside each other: their names, and where their prompts differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from flames.errors import InputError
from flames.metrics.columns import StoredVerdicts
from flames.metrics.result import Note
from flames.metrics.source import CarriedPrompts, ChosenResponses, Source, variants_of
from flames.prompts.sets import PromptSet
from flames.records import Key, Prompt, Verdict, unasked_verdict
from flames.text import normalize_text, shorten


def scorer_matches(scorer_id: str, wanted: str) -> bool:
    """Checks whether a scorer has that id, or that name without its version."""
    return scorer_id == wanted or scorer_id.rpartition("@")[0] == wanted


def display_names(sources: Sequence[Source], *, beside_scorers: bool = False) -> list[str]:
    """Returns names that distinguish sources, which `beside_scorers` stand with their scorers."""
    candidates = (
        [source.model for source in sources],
        [source.label for source in sources],
        [f"{source.origin.name} ({source.model})" for source in sources],
        [f"{s.origin.parent.name}/{s.origin.name} ({s.model})" for s in sources],
        [f"{source.origin.name} ({source.label})" for source in sources],
    )
    scorers = [source.scorer if beside_scorers else "" for source in sources]
    for names in candidates:
        if len(set(zip(names, scorers, strict=True))) == len(names):
            return names
    return [f"{number}: {name}" for number, name in enumerate(candidates[-1], start=1)]


def reworded_ids(first: Mapping[str, Prompt], second: Mapping[str, Prompt]) -> list[str]:
    """Returns the ids that mean prompts with different texts, in the first one's order."""
    if isinstance(first, CarriedPrompts) and isinstance(second, CarriedPrompts):
        ids = first.perhaps_unlike(second)  # the texts of large files stay where they are
    else:
        ids = (known for known in first if known in second)
    return [known for known in ids if first[known].asked.differs(second[known].asked)]


def reworded_notes(sources: Sequence[Source]) -> list[tuple[Note, ...]]:
    """Returns for each source a note where its ids mean prompts of another text in another one."""
    texts: dict[str, int] = {}  # hashes: the texts of large files stay where they are
    apart: set[str] = set()
    for source in sources if len(sources) > 1 else ():
        for known, prompt in source.prompts.items():
            text = normalize_text(prompt.text), prompt.asked.context
            if text[0] and texts.setdefault(known, hash(text)) != hash(text):
                apart.add(known)
    found = ([known for known in source.prompts if known in apart] for source in sources)
    return [(Note("reworded", n=len(i), example=shorten(i[0])),) if i else () for i in found]


def fill_unasked(source: Source, prompts: PromptSet) -> Source:
    """Returns the source as a measurement of a whole prompt set, in the set's order.

    Prompts without a verdict become `not asked`. Verdicts on other prompts, or on another text
    under a prompt's id, are left out, which a note says.
    """
    ids = prompts.by_id.keys() - reworded_ids(prompts.by_id, source.prompts)
    given: dict[Key, int] = {}
    samples = set(range(source.samples))
    for row, verdict in enumerate(source.verdicts):
        samples.add(verdict.sample)
        if verdict.prompt_id in ids:
            given[verdict.key] = row

    def verdicts() -> Iterator[Verdict]:
        for prompt in prompts.prompts:
            for sample in sorted(samples):
                key = Key(prompt.id, source.model, sample)
                if (found := given.get(key)) is None:
                    yield unasked_verdict(prompt, key, source.scorer)
                else:
                    yield source.verdicts[found]

    outside = len(source.verdicts) - len(given)
    if not given:
        message = f"none of the {outside:,} verdicts is on a prompt of the set {prompts.name}"
        raise InputError(message, path=source.origin)
    note = Note("outside_set", n=outside, name=prompts.name)
    return replace(
        source,
        prompt_set=prompts.info,
        prompts=dict(prompts.by_id),
        verdicts=StoredVerdicts(verdicts()),
        responses=ChosenResponses(source.responses, given.keys()),
        notes=(*source.notes, note) if outside else source.notes,
        variants=variants_of(prompts.prompts),
    )
