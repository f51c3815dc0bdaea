"""A source, one model under one scorer: what everything else is computed from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flames.metrics.columns import StoredVerdicts
from flames.metrics.conditions import Conditions
from flames.metrics.result import Note
from flames.metrics.tabular import html_table, to_frame
from flames.records import (
    DIGEST,
    Key,
    Prompt,
    PromptSetInfo,
    Response,
    Verdict,
    response_of,
    turns_in,
)

if TYPE_CHECKING:
    from pandas import DataFrame

LINE_ID = re.compile(r"line-\d+")
"""The ids that readers give to rows that have nothing to be known by."""

_OF_RESPONSE = (
    "prompt system response finish_reason error reasoning usage latency_s attempts sampling created"
).split()


class Variant(NamedTuple):
    """Which prompt another one says in other words, and how: a disguise, or a technique."""

    original: str
    kind: str


def variants_of(prompts: Iterable[Prompt]) -> dict[str, Variant]:
    """Returns those of the prompts that are variants, by id."""
    return {
        each.id: Variant(each.variant_of, each.disguise or each.technique or "")
        for each in prompts
        if each.variant_of is not None
    }


class CarriedResponses(Mapping[Key, Response]):
    """What verdicts' lines carry of their responses, each made on demand: files may be large."""

    def __init__(self, verdicts: StoredVerdicts) -> None:
        self._verdicts = verdicts

    def __getitem__(self, key: Key) -> Response:
        row = self._verdicts.row_of(key)
        if row is None:
            raise KeyError(key)
        return self.carried_by(self._verdicts[row])

    @staticmethod
    def carried_by(verdict: Verdict) -> Response:
        """Returns what the line of a verdict carries of its response."""
        fields = {name: verdict.extra[name] for name in _OF_RESPONSE if name in verdict.extra}
        return response_of(verdict, **fields, history=turns_in(verdict))

    def __iter__(self) -> Iterator[Key]:
        return (verdict.key for verdict in self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)


class CarriedPrompts(Mapping[str, Prompt]):
    """The prompts of verdicts: those of `known` sets, others as the verdicts' lines carry them.

    `rows` has the line for each prompt of the verdicts, or `KNOWN`, or `NO_TEXT`; `digests` what
    `prompt_digest` gives for those with a line.
    """

    KNOWN, NO_TEXT = -1, -2

    def __init__(
        self,
        verdicts: StoredVerdicts,
        rows: Sequence[int],
        known: Mapping[str, Prompt],
        digests: bytes | bytearray,
    ) -> None:
        self._verdicts, self._rows, self._known = verdicts, rows, known
        self._ids, self._digests = verdicts.columns.prompts, digests

    def perhaps_unlike(self, other: CarriedPrompts) -> Iterator[str]:
        """Yields the ids of prompts in both, apart from those that are seen to ask the same."""
        for code in np.flatnonzero(np.asarray(self._rows) != self.NO_TEXT).tolist():
            prompt_id = self._ids.values[code]
            there = other._ids.code_of.get(prompt_id)
            if there is None or other._rows[there] == self.NO_TEXT:
                continue
            digest = self._digest(code)
            if digest is None or digest != other._digest(there):
                yield prompt_id

    def _digest(self, code: int) -> bytes | None:
        at = DIGEST * code
        return bytes(self._digests[at : at + DIGEST]) if self._rows[code] >= 0 else None

    def __getitem__(self, prompt_id: str) -> Prompt:
        row = self._rows[self._ids.code_of[prompt_id]]
        if row == self.KNOWN:
            return self._known[prompt_id]
        if row == self.NO_TEXT:
            raise KeyError(prompt_id)
        verdict = self._verdicts[row]
        named = ("dimension", "subcomponent", "technique")
        return Prompt.model_construct(  # shown, not asked: it may hold lone surrogates
            id=prompt_id,
            text=verdict.extra["prompt"],
            system=verdict.extra.get("system"),
            history=turns_in(verdict),
            **{name: getattr(verdict, name) for name in named},
        )

    def __iter__(self) -> Iterator[str]:
        pairs = zip(self._ids.values, self._rows, strict=True)
        return (text for text, row in pairs if row != self.NO_TEXT)

    def __len__(self) -> int:
        return sum(row != self.NO_TEXT for row in self._rows)


class ChosenResponses(Mapping[Key, Response]):
    """Some of the responses."""

    def __init__(self, responses: Mapping[Key, Response], keys: Set[Key]) -> None:
        self._responses, self._keys = responses, keys

    def __getitem__(self, key: Key) -> Response:
        if key not in self._keys:
            raise KeyError(key)
        return self._responses[key]

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._responses if key in self._keys)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One model under one scorer (`name@version`; `human:NAME` for a person).

    There is a verdict per expected response (`samples` per prompt), unscored with the reason where
    it was never asked or scored; prompts and responses only where their text is known. All three
    may be made on demand, so that a source of a million verdicts fits.
    """

    model: str
    scorer: str
    prompt_set: PromptSetInfo
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    verdicts: Sequence[Verdict]
    responses: Mapping[Key, Response] = field(default_factory=dict)
    notes: tuple[Note, ...]
    origin: Path
    samples: int = 1
    conditions: Conditions | None = None
    variants: Mapping[str, Variant] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of this source in comparisons: model and scorer."""
        return f"{self.model} · {self.scorer}"

    @property
    def joinable(self) -> bool:
        """Whether the verdicts say what prompt they are on, not only their line in the file."""
        return not any(LINE_ID.fullmatch(verdict.prompt_id) for verdict in self.verdicts[:1])

    def response_to(self, verdict: Verdict) -> Response | None:
        """Returns the response that one of the verdicts is on, as far as it is known."""
        if isinstance(self.responses, CarriedResponses):
            return self.responses.carried_by(verdict)  # need not be looked for
        return self.responses.get(verdict.key)

    def response_text(self, verdict: Verdict) -> str | None:
        """Returns the text of the response that one of the verdicts is on, where it is known."""
        if isinstance(self.responses, CarriedResponses):
            text = verdict.extra.get("response")
            return text if isinstance(text, str) else None
        response = self.responses.get(verdict.key)
        return None if response is None else response.response

    def prompt_text(self, verdict: Verdict) -> str | None:
        """Returns the text of the prompt that one of the verdicts is on, where it is known."""
        text = verdict.extra.get("prompt")
        if isinstance(self.prompts, CarriedPrompts) and isinstance(text, str) and text.strip():
            return text
        known = self.prompts.get(verdict.prompt_id)
        return known.text if known else None

    def to_frame(self) -> DataFrame:
        """Returns the verdicts as a pandas DataFrame, one row each."""
        return to_frame(self.verdicts)

    def _repr_html_(self) -> str:
        columns = ("prompt_id", "sample", "dimension", "score", "unscored", "rationale")
        rows = [[getattr(verdict, name) for name in columns] for verdict in self.verdicts]
        return html_table(columns, rows, f"{self.label} on {self.prompt_set.full_name}")
