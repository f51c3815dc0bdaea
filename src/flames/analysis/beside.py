"""What stands beside the results of a report: another run, and how its scorers agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from flames.errors import UsageError
from flames.metrics.agreement import Agreement, measure_agreement
from flames.metrics.conditions import differing
from flames.metrics.result import Note, Result
from flames.metrics.source import Source
from flames.records import Key, Response
from flames.storage.atomic import to_jsonl, write_atomic
from flames.taxonomy import Taxonomy
from flames.text import shorten


class Disagreement(NamedTuple):
    """A response that scorers judge differently; `apart` is a share of the scale's width.

    `sure` is the mean probability of the scores given, 0 where a scorer has none.
    """

    key: Key
    dimension: str
    scores: dict[str, int]
    apart: float
    sure: float


@dataclass(frozen=True)
class ScorersBeside:
    """How the scorers of one model's responses agree, and where they do not, the worst first."""

    model: str
    agreement: Agreement
    disagreements: tuple[Disagreement, ...]
    source: Source

    def response(self, each: Disagreement) -> Response:
        """Returns the response that scorers disagree on, with its prompt where that is known."""
        found = self.source.responses.get(each.key)
        prompt = self.source.prompts.get(each.key.prompt_id)
        if found is None:
            found = Response.model_construct(**each.key._asdict())
        if found.prompt or prompt is None:
            return found
        return found.model_copy(update={"prompt": prompt.text})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the responses as lines of a file to be labelled, with the `scores` by scorer."""
        for each in self.disagreements:
            fields = {"dimension": each.dimension, "scores": each.scores}
            yield self.response(each).to_dict() | fields


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
    if not any(own.disagreements for own in beside.scorers):
        raise UsageError("the scorers disagree nowhere: there is nothing to write")
    write_atomic(path, to_jsonl(row for own in beside.scorers for row in own.rows()))


def notes_beside(results: Sequence[Result], others: Iterable[Result]) -> tuple[Note, ...]:
    """Returns in what others differ from the results that they stand beside, each once."""
    notes: dict[Note, None] = {}
    for other in others:
        name = shorten(other.shown_name, 60)
        for result in results:
            if result.prompt_set.ids_sha256 != other.prompt_set.ids_sha256:
                sets = {"first": result.prompt_set.full_name, "second": other.prompt_set.full_name}
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
        raters = (
            verdict.model_copy(update={"scorer": source.scorer, "annotator": None})
            for source in group
            for verdict in source.verdicts
        )
        found.append(
            ScorersBeside(
                model=group[0].model,
                agreement=measure_agreement(raters, taxonomy, seed=seed),
                disagreements=tuple(_disagreements(group, taxonomy)),
                source=group[0],
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


def _disagreements(sources: Sequence[Source], taxonomy: Taxonomy) -> list[Disagreement]:
    """Returns where scores differ: the furthest apart first, then where scorers are surest."""
    by_key: dict[Key, list[tuple[str, str, int, float]]] = {}
    for source in sources:
        for v in source.verdicts:
            if v.score is not None:
                chance = (v.probabilities or {}).get(str(v.score), 0.0)
                given = (source.scorer, v.dimension, v.score, chance)
                by_key.setdefault(v.key, []).append(given)
    found = []
    for key, given_scores in by_key.items():
        scores = {scorer: score for scorer, _, score, _ in given_scores}
        width = max(scores.values()) - min(scores.values())
        if width:
            dimension = taxonomy.dimension(given_scores[0][1])
            apart = width / (dimension.scale[0] - dimension.scale[-1])
            sure = sum(chance for *_, chance in given_scores) / len(given_scores)
            found.append(Disagreement(key, dimension.name, scores, apart, sure))
    return sorted(found, key=lambda each: (-each.apart, -each.sure))
