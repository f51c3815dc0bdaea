"""Evaluating scorers: their verdicts against labels."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

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
from flames.errors import InputError
from flames.metrics.intervals import bootstrap_estimate, draw_totals, stream, sum_by_prompt
from flames.options import Opt, SeedOptions
from flames.records import Key, Verdict, is_on_other_text
from flames.scorers.base import Scorer, ScorerInfo, score_stream
from flames.scorers.labelled import (
    LabelFiles,
    Labelled,
    LabelledSet,
    LabelOptions,
    read_labelled,
    training_overlap,
)
from flames.scorers.options import TrainedOptions, load_with
from flames.taxonomy import Taxonomy, default_taxonomy

RESAMPLES = 2_000
OTHER_TEXT = "verdict on another text"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(SeedOptions, TrainedOptions):
    """Which scorers are evaluated, and on which labels."""

    scorers: Annotated[
        tuple[str, ...],
        Opt("Scorers by name or path; compared with the first.", metavar="SCORER", positional=True),
    ]
    labels: LabelFiles


def evaluate_with(
    options: EvaluateOptions,
    reading: LabelOptions,
    *,
    progress: Callable[[str, int, int], None] = lambda scorer, total, done: None,
) -> list[Evaluation]:
    """Loads scorers and labels; evaluates each scorer, all but the first against the first."""
    read = reading.read_options()
    labelled = read_labelled(
        options.labels, read, prompt_needed=False, skip_incomplete=reading.skip_incomplete
    )
    found: list[Evaluation] = []
    first: list[Verdict] | None = None
    for spec in options.scorers:
        scorer = load_with(spec, options.given(), reading.taxonomy, beside=options.scorers)
        verdicts, seconds = score_labelled(
            scorer, labelled, progress=partial(progress, spec, len(labelled.rows))
        )
        evaluation = evaluate(
            labelled, verdicts, scorer.info, read.taxonomy, seconds=seconds, seed=options.seed
        )
        if first is None:
            first = verdicts
        else:
            gap = compare_scorers(labelled, verdicts, first, seed=options.seed)
            evaluation = evaluation.model_copy(update={"difference": gap})
        found.append(evaluation)
    return found


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
    given = _joined(labelled, verdicts)
    excluded = dict(labelled.excluded)
    rows = [row for row in labelled.rows if row.score is not None]
    if len(rows) < len(labelled.rows):
        excluded["annotators without a majority"] = len(labelled.rows) - len(rows)
    if not rows:
        raise InputError("no response has a label that more than half of its annotators gave")
    most = dict(majority or majority_labels(rows))
    judged = [_judged(row, given.get(row.key), most, taxonomy) for row in rows]
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
        return scorer_metrics(group, scale, name, seed, resamples, votes)

    return Evaluation(
        scorer=info.id,
        title=info.title,
        taxonomy=taxonomy.id,
        code_version=__version__,
        labels=dict(labelled.files),
        ids_sha256=keys_sha256(row.key for row in rows),
        excluded=excluded,
        notes=tuple(dict.fromkeys((*labelled.notes, *info.notes, *known))),
        prompts=len({row.key.prompt_id for row in rows}),
        overall=metrics("", levels),
        dimensions={name: metrics(name, scale, dimension=name) for name, scale in scales.items()},
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
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ScorerDifference | None:
    """Computes the paired difference in accuracy; None where no response was scored by both."""
    first, second = (
        {key: v.score for key, v in _joined(labelled, each).items() if v.score is not None}
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
    names = {"requests", "tokens_in", "tokens_out", "latency_s", "cost"}
    return taken[0].model_dump(include=names)


def majority_labels(rows: Iterable[Labelled]) -> dict[str, int]:
    """Returns the most frequent label per dimension; of two equally frequent, the better."""
    counts: dict[str, Counter[int]] = {}
    for row in rows:
        if row.score is not None:
            counts.setdefault(row.dimension, Counter())[row.score] += 1
    return {name: max(seen, key=lambda s: (seen[s], s)) for name, seen in counts.items()}


def keys_sha256(keys: Iterable[Key]) -> str:
    """Returns the SHA-256 over sorted keys, one per line: equal for the same responses."""
    lines = sorted(f"{key.prompt_id}\t{key.model}\t{key.sample}" for key in keys)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def _joined(labelled: LabelledSet, verdicts: Iterable[Verdict]) -> dict[Key, Verdict]:
    joined = {verdict.key: verdict for verdict in verdicts}
    nothing = {"score": None, "unscored": OTHER_TEXT, "probabilities": None}
    for row in labelled.rows:
        verdict = joined.get(row.key)
        if verdict and is_on_other_text(verdict, row.response.prompt, row.response.response):
            joined[row.key] = verdict.model_copy(update=nothing)
    return joined


def _judged(
    row: Labelled, verdict: Verdict | None, most: Mapping[str, int], taxonomy: Taxonomy
) -> LabelledScore:
    assert row.score is not None
    score = verdict.score if verdict is not None else None
    probabilities = (verdict.probabilities or {}) if verdict is not None else {}
    return LabelledScore(
        model=row.key.model,
        dimension=row.dimension,
        prompt_id=row.key.prompt_id,
        best=taxonomy.dimension(row.dimension).best,
        label=row.score,
        score=score,
        unscored=None if score is not None else verdict.unscored if verdict else "no verdict",
        chance=probabilities.get(str(score)) if score is not None else None,
        majority=most.get(row.dimension, row.score),
    )


def _votes(row: Labelled, verdict: Verdict | None) -> Votes:
    return Votes(
        model=row.key.model,
        dimension=row.dimension,
        prompt_id=row.key.prompt_id,
        votes=tuple(row.votes.values()),
        score=verdict.score if verdict is not None else None,
    )
