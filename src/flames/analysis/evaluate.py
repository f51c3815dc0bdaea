"""Evaluating scorers: their verdicts against labels."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flames import __version__
from flames.analysis.evaluation import Evaluation, ScorerDifference, ScorerMetrics
from flames.analysis.figures import METHOD, rank_models_by_label, scorer_metrics
from flames.analysis.harmless import harmless_metrics
from flames.analysis.judged import Judged, join_verdicts
from flames.analysis.judgements import (
    Judgement,
    Voted,
    decided_rows,
    judgements_of,
    most_frequent,
    votes_of,
)
from flames.errors import InputError
from flames.metrics.codes import Codes, Numbers, Rows, first_rows, joint_codes
from flames.metrics.columns import Coded
from flames.metrics.intervals import bootstrap_estimate, stream
from flames.metrics.outcomes import Outcomes
from flames.records import Key, Verdict
from flames.scorers.base import Scorer, ScorerInfo, score_stream
from flames.scorers.label_rows import LabelColumns, Labelled
from flames.scorers.labelled import LabelledSet, training_overlap
from flames.taxonomy import Taxonomy, default_taxonomy

RESAMPLES = 2_000
_LINES = 1 << 16  # of keys at once


def evaluate(
    labelled: LabelledSet,
    verdicts: Iterable[Verdict] | Judged,
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
    labels = LabelColumns.of(labelled.rows)
    given = join_verdicts(labels, verdicts, taxonomy, two_levels=labelled.binary)
    excluded = dict(labelled.excluded)
    decided = decided_rows(labels)
    if len(decided) < len(labels):
        excluded["annotators without a majority"] = len(labels) - len(decided)
    if not len(decided):
        raise InputError("no response has a label that more than half of its annotators gave")
    judged = judgements_of(labels, given, decided, taxonomy, majority)
    several = votes_of(labels, given)
    levels = tuple(sorted({s for d in taxonomy.dimensions for s in d.scale}, reverse=True))
    present = {part.dimension for part in labels.parts}
    scales = {d.name: d.scale for d in taxonomy.dimensions if d.name in present}
    models = Counter[str]()
    for kind, n in judged.by_kind():
        models[kind.model] += n
    known = training_overlap(info, labelled.files, models)
    ranking = rank_models_by_label(judged, list(scales), seed, resamples)

    def metrics(name: str, scale: tuple[int, ...], **of: str) -> ScorerMetrics:
        def kept(each: Judgement | Voted) -> bool:
            return all(getattr(each, field) == value for field, value in of.items())

        group, votes = judged.those(kept), several.those(kept)
        harmless = harmless_metrics(group, name, seed, resamples)
        if labelled.binary:
            lost = group.unscored()
            scored = len(group) - sum(lost.values())
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
        ids_sha256=_ids_sha256(labels, decided),
        excluded=excluded,
        notes=tuple(dict.fromkeys((*labelled.notes, *info.notes, *known))),
        prompts=len(np.unique(judged.prompts)),
        overall=metrics("", levels),
        dimensions={name: metrics(name, scale, dimension=name) for name, scale in scales.items()},
        subcomponents={
            name: metrics(f"part {name}", scales[of[0]], dimension=of[0], subcomponent=of[1])
            for name, of in _parts(judged.kinds, list(scales)).items()
        },
        models={
            name: metrics(f"model {name}", levels, model=name)
            for name in dict.fromkeys(part.model for part in labels.parts)
        },
        bias=ranking.bias,
        ranked_by=ranking.dimensions,
        rank_agreement=ranking.tau,
        seconds=seconds,
        per_second=len(decided) / seconds if seconds else None,
        cost=given.cost,
        seed=seed,
        resamples=resamples,
    )


def score_labelled(
    scorer: Scorer, labelled: LabelledSet, *, progress: Callable[[int], None] = lambda done: None
) -> tuple[list[Verdict], float]:
    """Has a scorer judge the labelled responses, which do not tell it their labels."""
    started = time.perf_counter()
    verdicts = list(_scored(scorer, labelled, progress))
    return verdicts, time.perf_counter() - started


def judge_labelled(
    scorer: Scorer,
    labelled: LabelledSet,
    taxonomy: Taxonomy,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Judged, float]:
    """Has a scorer judge as `score_labelled`; keeps of its verdicts what figures need."""
    started = time.perf_counter()
    labels = LabelColumns.of(labelled.rows)
    verdicts = _scored(scorer, labelled, progress)
    judged = join_verdicts(labels, verdicts, taxonomy, two_levels=labelled.binary)
    return judged, time.perf_counter() - started


def _scored(
    scorer: Scorer, labelled: LabelledSet, progress: Callable[[int], None]
) -> Iterator[Verdict]:
    verdicts = score_stream(scorer, (row.response for row in labelled.rows))
    for done, verdict in enumerate(verdicts, start=1):
        progress(done)
        yield verdict


def compare_scorers(
    labelled: LabelledSet,
    verdicts: Sequence[Verdict] | Judged,
    others: Sequence[Verdict] | Judged,
    taxonomy: Taxonomy | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ScorerDifference | None:
    """Computes the paired difference in accuracy; None where no response was scored by both."""
    taxonomy = taxonomy or default_taxonomy()
    labels = LabelColumns.of(labelled.rows)
    first, second = (
        join_verdicts(labels, each, taxonomy, two_levels=labelled.binary)
        for each in (verdicts, others)
    )
    both = decided_rows(labels)
    for given in (first, second):
        scored = np.array([each.score is not None for each in given.outcomes])
        both = both[scored[given.outcome[both]]]
    if not len(both):
        return None
    right = [_right(labels, given, both) for given in (first, second)]
    values = np.array([[a, b, 1] for a in (0, 1) for b in (0, 1)], dtype=float)
    outcomes = Outcomes.of_kinds(values, 2 * right[0] + right[1], labels.prompts[both])
    ends = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    draws = outcomes.draw(ends, resamples, stream(seed, "versus", second.scorer))
    value = float(100 * ((outcomes.total[0] - outcomes.total[1]) / len(both)))
    gaps = 100 * (draws[:, 0] - draws[:, 1]) / draws[:, 2]
    accuracy = bootstrap_estimate(value, gaps, f"paired {METHOD}")
    return ScorerDifference(other=second.scorer, n=len(both), accuracy=accuracy)


def _right(labels: LabelColumns, given: Judged, rows: Rows) -> Rows:
    """Tells with 1 and 0 whether a scorer is right on each of some rows."""
    code = joint_codes(labels.opinion[rows], given.outcome[rows])
    first, code = first_rows(code, int(code.max()) + 1)
    found = [
        labels.opinions[labels.opinion[row]].score == given.outcomes[given.outcome[row]].score
        for row in rows[first].tolist()
    ]
    return np.array(found, dtype=np.int64)[code]


def majority_labels(rows: Iterable[Labelled]) -> dict[str, int]:
    """Returns the most frequent label per dimension; of two equally frequent, the better."""
    return most_frequent((row.dimension, row.score, 1) for row in rows if row.score is not None)


def keys_sha256(keys: Iterable[Key]) -> str:
    """Returns the SHA-256 over sorted keys, one per line: equal for the same responses."""
    lines = sorted(f"{key.prompt_id}\t{key.model}\t{key.sample}" for key in keys)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def _ids_sha256(labels: LabelColumns, rows: Rows) -> str:
    """Returns `keys_sha256` of some rows, whose lines are never there all at once."""
    models: Coded[str] = Coded()
    for part in labels.parts:
        models.append(part.model)
    model = np.asarray(models.codes, dtype=np.int32)[labels.part[rows]]
    if any("\t" in name for name in (*labels.ids, *models.values)):  # the order is not by parts
        columns = labels.prompts[rows].tolist(), model.tolist(), labels.samples[rows].tolist()
        keys = zip(*columns, strict=True)
        return keys_sha256(Key(labels.ids[p], models.values[m], sample) for p, m, sample in keys)
    end = joint_codes(model, labels.samples[rows])
    first, end = first_rows(end, int(end.max()) + 1)
    names, samples = model[first].tolist(), labels.samples[rows[first]].tolist()
    ends = [f"\t{models.values[name]}\t{n}" for name, n in zip(names, samples, strict=True)]
    start, before = _ranked(labels.prompts[rows], labels.ids)
    last, after = _ranked(end, ends)
    order = joint_codes(start, last)
    order.sort()
    digest = hashlib.sha256()
    for at in range(0, len(order), _LINES):
        starts, rest = np.divmod(order[at : at + _LINES], len(after))
        text = "\n".join((before[starts] + after[rest]).tolist())
        digest.update((("\n" if at else "") + text).encode("utf-8", "replace"))
    return digest.hexdigest()


def _ranked(codes: Numbers, texts: Sequence[str]) -> tuple[Codes, NDArray[np.object_]]:
    """Numbers texts, which a TAB follows, in their order."""
    order = sorted(range(len(texts)), key=lambda code: f"{texts[code]}\t")
    rank = np.empty(len(texts), dtype=np.int32)
    rank[order] = np.arange(len(texts), dtype=np.int32)
    return rank[codes], np.array([texts[code] for code in order], dtype=object)


def _parts(kinds: Iterable[Judgement], order: list[str]) -> dict[str, tuple[str, str]]:
    """Returns dimension and subcomponent by name; of one name in two dimensions by both."""
    parts = {(kind.dimension, kind.subcomponent) for kind in kinds if kind.subcomponent}
    names = Counter(part for _, part in parts)
    ordered = sorted(parts, key=lambda pair: (order.index(pair[0]), pair[1]))
    return {p if names[p] == 1 else f"{d} · {p}": (d, p) for d, p in ordered}
