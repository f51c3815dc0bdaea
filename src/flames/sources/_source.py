"""What everything else computes on: one model under one scorer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flames.metrics.result import PromptSetInfo
from flames.records import Key, Prompt, Response, Verdict, response_of

LINE_ID = re.compile(r"line-\d+")
"""The ids that readers give to rows that have nothing to be known by."""

_OF_RESPONSE = (
    "prompt response finish_reason error reasoning usage latency_s attempts sampling created"
).split()


class CarriedResponses(Mapping[Key, Response]):
    """What verdicts' lines carry along of their responses, each made when it is asked for.

    Measuring asks for none of them, and a file may hold hundreds of thousands.
    """

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
    """One model under one scorer.

    Args:
        model: Whose responses were judged.
        scorer: Who judged, `name@version`; `human:NAME` for a person.
        prompt_set: What was asked.
        prompts: The prompts whose text is known, by id.
        verdicts: One for every response that was to be had; those that were never asked or
            never scored are unscored with that reason.
        responses: What is known of the responses, by key.
        notes: What a reader of the numbers must know.
        origin: The file or run.
        samples: Responses a prompt.
    """

    model: str
    scorer: str
    prompt_set: PromptSetInfo
    prompts: Mapping[str, Prompt]
    verdicts: tuple[Verdict, ...]
    responses: Mapping[Key, Response]
    notes: tuple[str, ...]
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


def matches(scorer_id: str, wanted: str) -> bool:
    """Whether a scorer goes by that id, or by that name without its version."""
    return scorer_id == wanted or scorer_id.rpartition("@")[0] == wanted
