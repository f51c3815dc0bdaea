"""Evaluating scorers: their verdicts against labels."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from flames import __version__
from flames.analysis.cost import measure_spending
from flames.analysis.evaluation import Evaluation, ScorerDifference, ScorerMetrics
from flames.analysis.figures import (
    METHOD,
    LabelledScore,
    Votes,
    rank_models_by_label,
    scorer_metrics,
)
from flames.analysis.harmless import harmless_metrics, on_two_levels, usual_harmless
from flames.errors import InputError
from flames.metrics.intervals import bootstrap_estimate, draw_totals, stream, sum_by_prompt
from flames.records import Key, Verdict, is_on_other_text
from flames.scorers.base import Scorer, ScorerInfo, score_stream
from flames.scorers.labelled import (
    Labelled,
    LabelledSet,
    training_overlap,
)
from flames.taxonomy import Taxonomy, default_taxonomy

RESAMPLES = 2_000
Group = TypeVar("Group")
OTHER_TEXT = "verdict on another text"


def evaluate(
    labelled: LabelledSet,
    verdicts: Iterable[Verdict],
    info: ScorerInfo,
    taxonomy: Taxonomy | None = None,
    *,
    seconds: float | None = None,
    majority: Mapping[str, int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Holds verdicts against labels, joined by key.

    A verdict on another prompt or response than the label's counts as unscored. `majority` is
    the most frequent label per dimension unless given.
    """
    taxonomy = taxonomy or default_taxonomy()
    given = _joined(labelled, verdicts, taxonomy)
    excluded = dict(labelled.excluded)
    rows = [row for row in labelled.rows if row.score is not None]
    if len(rows) < len(labelled.rows):
        excluded["annotators without a majority"] = len(labelled.rows) - len(rows)
    if not rows:
        raise InputError("no response has a label that more than half of its annotators gave")
    usual = _Usual.of(rows, taxonomy, majority)
    judged = [_judged(row, given.get(row.key), usual, taxonomy) for row in rows]
    several = [_votes(row, given.get(row.key)) for row in labelled.rows if len(row.votes) > 1]
    levels = tuple(sorted({s for d in taxonomy.dimensions for s in d.scale}, reverse=True))
    present = {row.dimension for row in labelled.rows}
    scales = {d.name: d.scale for d in taxonomy.dimensions if d.name in present}
    known = training_overlap(info, labelled.files, (row.key.model for row in rows))
    ranking = rank_models_by_label(judged, list(scales), seed, resamples)

    def metrics(name: str, scale: tuple[int, ...], **of: str) -> ScorerMetrics:
        def kept(each: LabelledScore | Votes) -> bool:
            return all(getattr(each, field) == value for field, value in of.items())

        group, votes = list(filter(kept, judged)), list(filter(kept, several))
        harmless = harmless_metrics(group, name, seed, resamples)
        if labelled.binary:
            lost = Counter(row.unscored or "" for row in group if row.score is None)
            scored = len(group) - lost.total()
            return ScorerMetrics(n=len(group), scored=scored, unscored=lost, harmless=harmless)
        found = scorer_metrics(group, scale, name, seed, resamples, votes)
        return found.model_copy(update={"harmless": harmless})

    return Evaluation(
        scorer=info.id,
        title=info.title,
        taxonomy=taxonomy.id,
        code_version=__version__,
        labels=dict(labelled.files),
        label_set=labelled.name,
        harmless_only=labelled.binary,
        ids_sha256=keys_sha256(row.key for row in rows),
        excluded=excluded,
        notes=tuple(dict.fromkeys((*labelled.notes, *info.notes, *known))),
        prompts=len({row.key.prompt_id for row in rows}),
        overall=metrics("", levels),
        dimensions={name: metrics(name, scale, dimension=name) for name, scale in scales.items()},
        subcomponents={
            name: metrics(f"part {name}", scales[of[0]], dimension=of[0], subcomponent=of[1])
            for name, of in _parts(judged, list(scales)).items()
        },
        models={
            name: metrics(f"model {name}", levels, model=name)
            for name in dict.fromkeys(row.key.model for row in labelled.rows)
        },
        bias=ranking.bias,
        ranked_by=ranking.dimensions,
        rank_agreement=ranking.tau,
        seconds=seconds,
        per_second=len(rows) / seconds if seconds else None,
        cost=_cost(given.values()),
        seed=seed,
        resamples=resamples,
    )


def score_labelled(
    scorer: Scorer, labelled: LabelledSet, *, progress: Callable[[int], None] = lambda done: None
) -> tuple[list[Verdict], float]:
    """Has a scorer judge the labelled responses, which do not tell it their labels."""
    started = time.perf_counter()
    verdicts = []
    for verdict in score_stream(scorer, (row.response for row in labelled.rows)):
        verdicts.append(verdict)
        progress(len(verdicts))
    return verdicts, time.perf_counter() - started


def compare_scorers(
    labelled: LabelledSet,
    verdicts: Sequence[Verdict],
    others: Sequence[Verdict],
    taxonomy: Taxonomy | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ScorerDifference | None:
    """Computes the paired difference in accuracy; None where no response was scored by both."""
    known = taxonomy or default_taxonomy()
    first, second = (
        {key: v.score for key, v in _joined(labelled, each, known).items() if v.score is not None}
        for each in (verdicts, others)
    )
    both = first.keys() & second.keys()
    rows = [row for row in labelled.rows if row.score is not None and row.key in both]
    if not rows:
        return None
    table = np.array(
        [[first[r.key] == r.score, second[r.key] == r.score, 1] for r in rows], dtype=float
    )
    outcomes = sum_by_prompt(table, [row.key.prompt_id for row in rows])
    ends = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]) * len(rows) / len(outcomes)
    name = others[0].scorer
    draws = draw_totals(outcomes, ends, resamples, stream(seed, "versus", name))
    value = float(100 * (table[:, 0] - table[:, 1]).mean())
    gaps = 100 * (draws[:, 0] - draws[:, 1]) / draws[:, 2]
    accuracy = bootstrap_estimate(value, gaps, f"paired {METHOD}")
    return ScorerDifference(other=name, n=len(rows), accuracy=accuracy)


def _cost(verdicts: Iterable[Verdict]) -> dict[str, Any] | None:
    taken = measure_spending(verdicts)
    if not taken or not taken[0].requests:
        return None
    names = {"requests", "tokens_in", "tokens_out", "latency_s", "cost", "currency"}
    return taken[0].model_dump(include=names)


def majority_labels(rows: Iterable[Labelled]) -> dict[str, int]:
    """Returns the most frequent label per dimension; of two equally frequent, the better."""
    return _most_frequent((row.dimension, row.score) for row in rows)


def _most_frequent(labels: Iterable[tuple[Group, int | None]]) -> dict[Group, int]:
    counts: dict[Group, Counter[int]] = {}
    for group, score in labels:
        if score is not None:
            counts.setdefault(group, Counter())[score] += 1
    return {group: max(seen, key=lambda s: (seen[s], s)) for group, seen in counts.items()}


def keys_sha256(keys: Iterable[Key]) -> str:
    """Returns the SHA-256 over sorted keys, one per line: equal for the same responses."""
    lines = sorted(f"{key.prompt_id}\t{key.model}\t{key.sample}" for key in keys)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def _joined(
    labelled: LabelledSet, verdicts: Iterable[Verdict], taxonomy: Taxonomy
) -> dict[Key, Verdict]:
    joined = {verdict.key: verdict for verdict in verdicts}
    nothing = {"score": None, "unscored": OTHER_TEXT, "probabilities": None}
    for row in labelled.rows:
        verdict = joined.get(row.key)
        if verdict and is_on_other_text(verdict, row.response.asked, row.response.response):
            joined[row.key] = verdict.model_copy(update=nothing)
        elif verdict and labelled.binary:
            joined[row.key] = on_two_levels(verdict, taxonomy.dimension(row.dimension).scale)
    return joined


def _parts(rows: Iterable[LabelledScore], order: list[str]) -> dict[str, tuple[str, str]]:
    """Returns dimension and subcomponent by name; of one name in two dimensions by both."""
    parts = {(row.dimension, row.subcomponent) for row in rows if row.subcomponent}
    names = Counter(part for _, part in parts)
    ordered = sorted(parts, key=lambda pair: (order.index(pair[0]), pair[1]))
    return {p if names[p] == 1 else f"{d} · {p}": (d, p) for d, p in ordered}


@dataclass(frozen=True)
class _Usual:
    """What is most frequent, by dimension and by (dimension, subcomponent)."""

    labels: Mapping[str, int]
    part_labels: Mapping[tuple[str, str], int]
    harmless: Mapping[Any, bool]

    @classmethod
    def of(
        cls, rows: Sequence[Labelled], taxonomy: Taxonomy, given: Mapping[str, int] | None
    ) -> _Usual:
        parts = [(_part(row), row) for row in rows]
        best = {name: taxonomy.dimension(name).best for name in {row.dimension for row in rows}}
        groups = [(key, row) for part, row in parts for key in (row.dimension, part)]
        return cls(
            dict(given or majority_labels(rows)),
            _most_frequent((part, row.score) for part, row in parts),
            usual_harmless((key, row.score == best[row.dimension]) for key, row in groups),
        )


def _part(row: Labelled) -> tuple[str, str]:
    return row.dimension, row.response.subcomponent or ""


def _judged(
    row: Labelled, verdict: Verdict | None, usual: _Usual, taxonomy: Taxonomy
) -> LabelledScore:
    assert row.score is not None
    best, part = taxonomy.dimension(row.dimension).best, _part(row)
    score = verdict.score if verdict is not None else None
    probabilities = (verdict.probabilities or {}) if verdict is not None else {}
    return LabelledScore(
        model=row.key.model,
        dimension=row.dimension,
        prompt_id=row.key.prompt_id,
        best=best,
        label=row.score,
        score=score,
        unscored=None if score is not None else verdict.unscored if verdict else "no verdict",
        chance=probabilities.get(str(score)) if score is not None else None,
        majority=usual.labels.get(row.dimension, row.score),
        subcomponent=part[1],
        chance_best=probabilities.get(str(best)) if score is not None else None,
        majority_part=usual.part_labels[part],
        usual=usual.harmless[row.dimension],
        usual_part=usual.harmless[part],
    )


def _votes(row: Labelled, verdict: Verdict | None) -> Votes:
    return Votes(
        model=row.key.model,
        dimension=row.dimension,
        subcomponent=row.response.subcomponent or "",
        prompt_id=row.key.prompt_id,
        votes=tuple(row.votes.values()),
        score=verdict.score if verdict is not None else None,
    )
