"""A source, one model under one scorer: what everything else is computed from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flames.metrics.conditions import Conditions
from flames.metrics.result import Note, html_table, to_frame
from flames.records import Key, Prompt, PromptSetInfo, Response, Verdict, response_of

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


@dataclass(frozen=True, kw_only=True)
class Source:
    """One model under one scorer (`name@version`; `human:NAME` for a person).

    There is a verdict per expected response (`samples` per prompt), unscored with the reason where
    it was never asked or scored; prompts and responses only where their text is known.
    """

    model: str
    scorer: str
    prompt_set: PromptSetInfo
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...]
    responses: Mapping[Key, Response] = field(default_factory=dict)
    notes: tuple[Note, ...]
    origin: Path
    samples: int = 1
    conditions: Conditions | None = None

    @property
    def label(self) -> str:
        """The name of this source in comparisons: model and scorer."""
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
