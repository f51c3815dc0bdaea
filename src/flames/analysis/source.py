"""A source, one model under one scorer: what everything else is computed from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flames.errors import InputError
from flames.metrics.result import Note, html_table, to_frame
from flames.prompts.sets import PromptSet
from flames.records import (
    Key,
    Prompt,
    PromptSetInfo,
    Response,
    Verdict,
    response_of,
    unasked_verdict,
)
from flames.text import normalize_text, shorten, texts_differ

if TYPE_CHECKING:
    from pandas import DataFrame

LINE_ID = re.compile(r"line-\d+")
"""The ids that readers give to rows that have nothing to be known by."""

_OF_RESPONSE = (
    "prompt response finish_reason error reasoning usage latency_s attempts sampling created"
).split()


class CarriedResponses(Mapping[Key, Response]):
    """What verdicts' lines carry of their responses, each made on demand: files may be large."""

    def __init__(self, verdicts: Iterable[Verdict]) -> None:
        self._verdicts = {verdict.key: verdict for verdict in verdicts}
        self._made: dict[Key, Response] = {}

    def __getitem__(self, key: Key) -> Response:
        if key not in self._made:
            verdict = self._verdicts[key]
            fields = {name: verdict.extra[name] for name in _OF_RESPONSE if name in verdict.extra}
            self._made[key] = response_of(verdict, **fields)
        return self._made[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)


@dataclass(frozen=True)
class Source:
    """One model under one scorer (`name@version`; `human:NAME` for a person).

    There is a verdict per expected response (`samples` per prompt), unscored with the reason where
    it was never asked or scored; prompts only where their text is known.
    """

    model: str
    scorer: str
    prompt_set: PromptSetInfo
    prompts: Mapping[str, Prompt]
    verdicts: tuple[Verdict, ...]
    responses: Mapping[Key, Response]
    notes: tuple[Note, ...]
    origin: Path
    samples: int = 1

    @property
    def label(self) -> str:
        """How this source is called beside others: model and scorer."""
        return f"{self.model} · {self.scorer}"

    @property
    def joinable(self) -> bool:
        """Whether the verdicts say what prompt they are on, not only their line in the file."""
        return not any(LINE_ID.fullmatch(verdict.prompt_id) for verdict in self.verdicts[:1])

    def to_frame(self) -> DataFrame:
        """Returns the verdicts as a pandas DataFrame, one row each."""
        return to_frame(self.verdicts)

    def _repr_html_(self) -> str:
        columns = ("prompt_id", "sample", "dimension", "score", "unscored", "rationale")
        rows = [[getattr(verdict, name) for name in columns] for verdict in self.verdicts]
        return html_table(columns, rows, f"{self.label} on {self.prompt_set.name}")


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
    return [
        known
        for known, prompt in first.items()
        if known in second and texts_differ(prompt.text, second[known].text)
    ]


def reworded_notes(sources: Sequence[Source]) -> list[tuple[Note, ...]]:
    """Returns for each source a note where its ids mean prompts of another text in another one."""
    texts: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for known, prompt in source.prompts.items():
            texts[known].add(normalize_text(prompt.text))
    apart = {known for known, found in texts.items() if len(found - {""}) > 1}
    found = ([known for known in source.prompts if known in apart] for source in sources)
    return [(Note("reworded", n=len(i), example=shorten(i[0])),) if i else () for i in found]


def fill_unasked(source: Source, prompts: PromptSet) -> Source:
    """Returns the source as a measurement of a whole prompt set, in the set's order.

    Prompts without a verdict become `not asked`. Verdicts on other prompts, or on another text
    under a prompt's id, are left out, which a note says.
    """
    ids = prompts.by_id.keys() - reworded_ids(prompts.by_id, source.prompts)
    given = {verdict.key: verdict for verdict in source.verdicts if verdict.prompt_id in ids}
    samples = sorted({v.sample for v in source.verdicts} | set(range(source.samples)))
    verdicts = [
        given.get(key) or unasked_verdict(prompt, key, source.scorer)
        for prompt in prompts.prompts
        for key in (Key(prompt.id, source.model, sample) for sample in samples)
    ]
    outside = len(source.verdicts) - len(given)
    if not given:
        message = f"none of the {outside:,} verdicts is on a prompt of the set {prompts.name}"
        raise InputError(message, path=source.origin)
    note = Note("outside_set", n=outside, name=prompts.name)
    return replace(
        source,
        prompt_set=prompts.info,
        prompts=dict(prompts.by_id),
        verdicts=tuple(verdicts),
        responses={key: response for key, response in source.responses.items() if key in given},
        notes=(*source.notes, note) if outside else source.notes,
    )
