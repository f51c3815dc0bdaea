"""What stands beside the results of a report: another run, and how its scorers agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from flames.errors import UsageError
from flames.metrics.agreement import Agreement, measure_agreement
from flames.metrics.conditions import differing
from flames.metrics.result import Note, Result
from flames.metrics.source import Source
from flames.records import Frozen, Key, Response, Verdict, response_of
from flames.storage.atomic import to_jsonl, write_atomic
from flames.taxonomy import Taxonomy
from flames.text import shorten


class Disagreement(Frozen):
    """A response that scorers judge differently; `apart` is a share of the scale's width."""

    response: Response
    dimension: str
    scores: dict[str, int]
    apart: float
    sure: float

    def to_row(self) -> dict[str, Any]:
        """Returns the response as a line of a file, which can be labelled; `scores` by scorer."""
        return self.response.to_dict() | {"dimension": self.dimension, "scores": self.scores}


class ScorersBeside(Frozen):
    """How the scorers of one model's responses agree, and where they do not, the worst first."""

    model: str
    agreement: Agreement
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True)
class Beside:
    """Results that stand beside those of a report, and what is to be known about them."""

    results: tuple[Result, ...] = ()
    notes: tuple[Note, ...] = ()
    scorers: tuple[ScorersBeside, ...] = ()


def beside_of(
    sources: Sequence[Source],
    results: Sequence[Result],
    others: Sequence[Result],
    taxonomy: Taxonomy,
    seed: int = 0,
) -> Beside:
    """Puts together what stands beside results; `others` are of their scorers, where there are."""
    scorers = {result.scorer for result in results}
    kept = [other for other in others if other.scorer in scorers] or list(others)
    found = scorers_beside(sources, taxonomy, seed=seed)
    return Beside(tuple(kept), notes_beside(results, kept), found)


def write_disagreements(beside: Beside, path: Path) -> None:
    """Writes the responses that scorers judge differently, the worst first, as JSON Lines."""
    if not beside.scorers:
        raise UsageError("--disagreements needs verdicts of several scorers on the same responses")
    rows = [each.to_row() for own in beside.scorers for each in own.disagreements]
    if not rows:
        raise UsageError("the scorers disagree nowhere: there is nothing to write")
    write_atomic(path, to_jsonl(rows))


def notes_beside(results: Sequence[Result], others: Iterable[Result]) -> tuple[Note, ...]:
    """Returns in what others differ from the results that they stand beside, each once."""
    notes: dict[Note, None] = {}
    for other in others:
        name = shorten(other.shown_name, 60)
        for result in results:
            if result.prompt_set.ids_sha256 != other.prompt_set.ids_sha256:
                sets = {"first": result.prompt_set.name, "second": other.prompt_set.name}
                notes[Note("beside_set", name=name, **sets)] = None
            if result.scorer != other.scorer and not any(r.scorer == other.scorer for r in results):
                scorers = {"first": result.scorer, "second": other.scorer}
                notes[Note("beside_scorer", name=name, **scorers)] = None
            apart = differing(result.conditions, other.conditions)
            if apart:
                what = "; ".join(
                    f"{key}: {_short(a)} | {_short(b)}" for key, (a, b) in apart.items()
                )
                notes[Note("beside_conditions", name=name, what=what)] = None
    return tuple(notes)


def _short(value: Any) -> str:
    return "–" if value is None else shorten(str(value), 40)


def scorers_beside(
    sources: Sequence[Source], taxonomy: Taxonomy, *, seed: int = 0
) -> tuple[ScorersBeside, ...]:
    """Measures the agreement of the scorers of each model's responses, where there are several."""
    found = []
    for group in _same_responses(sources):
        verdicts = [
            verdict.model_copy(update={"scorer": source.scorer, "annotator": None})
            for source in group
            for verdict in source.verdicts
        ]
        found.append(
            ScorersBeside(
                model=group[0].model,
                agreement=measure_agreement(verdicts, taxonomy, seed=seed),
                disagreements=tuple(_disagreements(group, verdicts, taxonomy)),
            )
        )
    return tuple(found)


def _same_responses(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Yields the sources of one run or file and model, if they are of several scorers."""

    def place(source: Source) -> tuple[str, str]:
        return str(source.origin), source.model

    for _, group in groupby(sorted(sources, key=place), place):
        same = list(group)
        if len({source.scorer for source in same}) > 1:
            yield same


def _disagreements(
    sources: Sequence[Source], verdicts: Iterable[Verdict], taxonomy: Taxonomy
) -> list[Disagreement]:
    """Returns where scores differ: the furthest apart first, then where scorers are surest."""
    by_key: dict[Key, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.score is not None:
            by_key.setdefault(verdict.key, []).append(verdict)
    responses = sources[0].responses
    found = []
    for key, given in by_key.items():
        scores = {v.scorer: v.score for v in given if v.score is not None}
        ends = min(scores.values()), max(scores.values())
        if ends[0] == ends[1]:
            continue
        dimension = taxonomy.dimension(given[0].dimension)
        chances = [(v.probabilities or {}).get(str(v.score), 0.0) for v in given]
        found.append(
            Disagreement(
                response=_asked(responses.get(key) or response_of(given[0]), sources[0]),
                dimension=dimension.name,
                scores=scores,
                apart=(ends[1] - ends[0]) / (dimension.scale[0] - dimension.scale[-1]),
                sure=sum(chances) / len(chances),
            )
        )
    return sorted(found, key=lambda each: (-each.apart, -each.sure))


def _asked(response: Response, source: Source) -> Response:
    prompt = source.prompts.get(response.prompt_id)
    if response.prompt or prompt is None:
        return response
    return response.model_copy(update={"prompt": prompt.text})
