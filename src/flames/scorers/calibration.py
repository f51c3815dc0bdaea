"""Fits calibrations: probabilities that mean what they say, and a threshold for abstaining.

Temperature scaling divides the logarithms of a scorer's probabilities by one number per dimension
(Guo et al. 2017); it never changes which score is the most likely. Isotonic regression fits a
rising step function per score, each against the rest, and scales the results to sum to one
(Zadrozny and Elkan 2002); it needs more labels and may change the most likely score.

A calibration is evaluated on prompts that it was not fitted on (five folds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from flames.errors import UsageError
from flames.metrics.intervals import wilson
from flames.metrics.result import Note
from flames.options import Opt
from flames.records import Key, Verdict
from flames.scorers.base import score_stream
from flames.scorers.calibrated import (
    TINY,
    Abstention,
    Array,
    Calibration,
    Curve,
    Fit,
    Method,
    Quality,
    apply,
    save_calibration,
    scaled,
)
from flames.scorers.labelled import LabelFiles, ModelNames, labelled_responses, training_overlap
from flames.scorers.options import ScorerName, ScorerOptions, load_with
from flames.taxonomy import Taxonomy, TaxonomyOptions, load_taxonomy

FEWEST: Mapping[Method, int] = {"temperature": 20, "isotonic": 100}
"""The number of labels that a dimension needs for a fit of its own."""

_FOLDS = 5
_BINS = 10


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(TaxonomyOptions, ScorerOptions):
    """What is calibrated, on which labels, and how."""

    scorer: ScorerName
    labels: LabelFiles
    out: Annotated[Path, Opt("Calibration file (JSON) to write.", metavar="FILE")]
    models: ModelNames = None
    method: Annotated[Method, Opt("temperature, or isotonic (needs more labels).")] = "temperature"
    threshold: Annotated[
        float | None,
        Opt("Abstain if the likeliest score is less likely than this.", metavar="P", min=0, max=1),
    ] = None
    target_accuracy: Annotated[
        float | None,
        Opt("Use the lowest threshold that reaches this accuracy.", metavar="A", min=0, max=1),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and self.target_accuracy is not None:
            raise UsageError("--threshold and --target-accuracy exclude each other")


def calibrate_with(options: CalibrateOptions) -> Calibration:
    """Loads a scorer and labels, fits a calibration, and writes its file."""
    loaded = load_taxonomy(options.taxonomy)
    found = labelled_responses(options.labels, loaded).of_models(options.models)
    scorer = load_with(options.scorer, options.given(), options.taxonomy)
    if not scorer.info.probabilities:
        raise UsageError(
            f"{scorer.info.id} gives no probabilities to calibrate; a judge gives them with votes=N"
        )
    models = [response.model for response in found.responses]
    calibration = calibrate(
        pairs(score_stream(scorer, found.responses), found.labels),
        loaded,
        scorer=options.scorer,
        scorer_id=scorer.info.id,
        labels=found.source,
        files=found.files,
        models=models,
        notes=training_overlap(scorer.info, found.files, models),
        method=options.method,
        threshold=options.threshold,
        target_accuracy=options.target_accuracy,
    )
    save_calibration(calibration, options.out)
    return calibration


@dataclass(frozen=True)
class Pair:
    """The probabilities that a scorer gave, and the score that the response deserves."""

    prompt_id: str
    dimension: str
    probabilities: Mapping[str, float]
    label: int


def pairs(verdicts: Iterable[Verdict], labels: Mapping[Key, int]) -> list[Pair]:
    """Joins verdicts that have probabilities with their labels, by key."""
    usable = [(verdict, verdict.probabilities) for verdict in verdicts if verdict.probabilities]
    if not usable:
        raise UsageError(
            "the scorer gives no probabilities to calibrate; a judge gives them with votes=N"
        )
    return [
        Pair(verdict.prompt_id, verdict.dimension, probabilities, labels[verdict.key])
        for verdict, probabilities in usable
        if verdict.key in labels
    ]


def calibrate(
    items: Sequence[Pair],
    taxonomy: Taxonomy,
    *,
    scorer: str,
    scorer_id: str,
    labels: str,
    files: Mapping[str, str] | None = None,
    models: Iterable[str] = (),
    notes: Iterable[Note] = (),
    method: Method = "temperature",
    threshold: float | None = None,
    target_accuracy: float | None = None,
) -> Calibration:
    """Fits a calibration and evaluates it on folds of prompts.

    Args:
        items: Probabilities with their labels.
        scorer: The scorer as `--scorer` names it, to load it again.
        labels: The name of the labels, for the file.
        files: The files that hold them, name → SHA-256.
        notes: What a reader of the calibrated scorer's numbers must know.
        threshold: Abstain where the most likely score is less likely than this.
        target_accuracy: Choose the lowest threshold at which what is kept is this accurate.
    """
    fits = _fit(items, taxonomy, method)
    # all items of a prompt are in the same fold
    folds = [hashlib.sha256(item.prompt_id.encode()).digest()[0] % _FOLDS for item in items]
    changed: list[Mapping[str, float]] = [item.probabilities for item in items]
    for fold in range(_FOLDS):
        rest = [item for item, own in zip(items, folds, strict=True) if own != fold]
        held = _fit(rest, taxonomy, method, lenient=True)
        for n, own in enumerate(folds):
            if own == fold:
                changed[n] = apply(held[items[n].dimension], items[n].probabilities)
    after = _confidences(items, changed)
    if target_accuracy is not None:
        threshold = _threshold(*after, target_accuracy)
    return Calibration(
        method=method,
        scorer=scorer,
        scorer_id=scorer_id,
        taxonomy=taxonomy.id,
        labels=labels,
        files=dict(files or {}),
        models=tuple(sorted(set(models))),
        notes=tuple(notes),
        dimensions={name: fits[name] for name in dict.fromkeys(item.dimension for item in items)},
        threshold=threshold,
        before=_quality(items, [item.probabilities for item in items]),
        after=_quality(items, changed),
        abstention=None if threshold is None else _abstention(*after, threshold),
    )


def _fit(
    items: Sequence[Pair], taxonomy: Taxonomy, method: Method, *, lenient: bool = False
) -> dict[str, Fit]:
    if len(items) < FEWEST["temperature"]:
        raise UsageError(
            f"{len(items)} labelled verdicts are too few; at least {FEWEST['temperature']}"
        )
    groups = {name: [item for item in items if item.dimension == name] for name in taxonomy.names}
    pooled = Fit(n=len(items), temperature=_temperature(items), pooled=True)
    fits: dict[str, Fit] = {}
    for name, group in groups.items():
        few = len(group) < FEWEST[method]
        if method == "isotonic" and few and group and not lenient:
            raise UsageError(
                f"{name}: {len(group)} labels are too few for isotonic fitting (at least "
                f"{FEWEST['isotonic']}); use temperature"
            )
        if not group or (few and method == "temperature"):
            fits[name] = pooled
        elif method == "temperature":
            fits[name] = Fit(n=len(group), temperature=_temperature(group))
        else:
            fits[name] = Fit(n=len(group), curves=_curves(group))
    return fits


def _temperature(items: Sequence[Pair]) -> float:
    from scipy.optimize import minimize_scalar

    by_scores: dict[tuple[str, ...], list[Pair]] = {}
    for item in items:
        by_scores.setdefault(tuple(item.probabilities), []).append(item)
    groups = [
        (
            np.array([list(item.probabilities.values()) for item in group], dtype=np.float64),
            np.array([scores.index(str(item.label)) for item in group], dtype=np.intp),
        )
        for scores, group in by_scores.items()
    ]

    def loss(log_temperature: float) -> float:
        total = 0.0
        for probabilities, classes in groups:
            moved = scaled(probabilities, float(np.exp(log_temperature)))
            likely = moved[np.arange(len(classes)), classes]
            total -= float(np.log(np.clip(likely, TINY, 1.0)).sum())
        return total

    found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
    return float(np.exp(found.x))


def _curves(items: Sequence[Pair]) -> dict[str, Curve]:
    from scipy.optimize import isotonic_regression

    curves: dict[str, Curve] = {}
    for score in dict.fromkeys(score for item in items for score in item.probabilities):
        pairs = sorted(
            (item.probabilities[score], float(str(item.label) == score)) for item in items
        )
        x = np.array([pair[0] for pair in pairs])
        y = np.asarray(isotonic_regression([pair[1] for pair in pairs]).x, dtype=np.float64)
        knots, first = np.unique(x, return_index=True)
        level = np.add.reduceat(y, first) / np.diff([*first, len(y)])
        keep = np.ones(len(knots), dtype=bool)  # the inside of a flat stretch says nothing
        keep[1:-1] = (level[1:-1] != level[:-2]) | (level[1:-1] != level[2:])
        curves[score] = Curve(x=tuple(map(float, knots[keep])), y=tuple(map(float, level[keep])))
    return curves


def _confidences(
    items: Sequence[Pair], probabilities: Sequence[Mapping[str, float]]
) -> tuple[Array, NDArray[np.bool_]]:
    best = [max(given.items(), key=lambda pair: pair[1]) for given in probabilities]
    sure = np.array([pair[1] for pair in best], dtype=np.float64)
    right = [int(b[0]) == item.label for b, item in zip(best, items, strict=True)]
    return sure, np.array(right, dtype=np.bool_)


def _quality(items: Sequence[Pair], probabilities: Sequence[Mapping[str, float]]) -> Quality:
    sure, right = _confidences(items, probabilities)
    of_label = [p.get(str(item.label), 0.0) for p, item in zip(probabilities, items, strict=True)]
    likely = np.clip(np.array(of_label, dtype=np.float64), TINY, 1.0)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(sure[bins == b].mean() - right[bins == b].mean())) * int((bins == b).sum())
        for b in range(_BINS)
        if (bins == b).any()
    ]
    return Quality(
        n=len(items),
        accuracy=round(float(right.mean()), 4),
        nll=round(float(-np.log(likely).mean()), 4),
        ece=round(sum(gaps) / len(items), 4),
    )


def _threshold(sure: Array, right: NDArray[np.bool_], target: float) -> float:
    order = np.argsort(-sure, kind="stable")
    reached = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last = np.append(sure[order][1:] != sure[order][:-1], True)  # equal ones are kept together
    good = np.flatnonzero((reached >= target) & last)
    if not len(good):
        raise UsageError(f"no threshold makes what is kept {target:.0%} accurate")
    return float(np.floor(sure[order][good[-1]] * 1e4) / 1e4)


def _abstention(sure: Array, right: NDArray[np.bool_], threshold: float) -> Abstention:
    kept = sure >= threshold
    n = int(kept.sum())
    low, high = wilson(float(right[kept].sum()), n) if n else (None, None)
    return Abstention(
        threshold=threshold,
        kept=n,
        n=len(sure),
        accuracy=float(right[kept].mean()) if n else None,
        low=low,
        high=high,
    )
