"""A scorer with calibrated probabilities, and the file that holds its calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flames.errors import UsageError
from flames.metrics.result import Note
from flames.records import Frozen, Response, Verdict, dump_line
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo, TrainingLabels
from flames.scorers.registry import load_among
from flames.storage.atomic import write_atomic
from flames.storage.text_files import read_json_file

LOW_CONFIDENCE = "low confidence"


class CalibratedScorer:
    """A scorer with calibrated probabilities, which abstains where it is not sure enough.

    `version` is a short checksum of the calibration, for the scorer's id.
    """

    def __init__(self, scorer: Scorer, calibration: Calibration, version: str) -> None:
        if scorer.info.id != calibration.scorer_id:
            raise UsageError(
                f"the calibration was fitted for {calibration.scorer_id}, "
                f"and this is {scorer.info.id}; calibrate again"
            )
        self._scorer, self._calibration, info = scorer, calibration, scorer.info
        self.window = getattr(scorer, "window", 256)
        name = f"{info.id}+calibrated-{version}"
        own = TrainingLabels(name, tuple(calibration.files.values()), calibration.models)
        self.info = ScorerInfo(
            id=name,
            title=f"{info.title}, calibrated ({calibration.method})",
            taxonomy=info.taxonomy,
            notes=(*info.notes, Note("calibrated", labels=calibration.labels), *calibration.notes),
            details={
                **info.details,
                "calibration": calibration.model_dump(
                    include={"method", "threshold", "before", "after", "abstention"},
                    exclude_none=True,
                ),
            },
            learnt=(*info.learnt, own),
            reads=info.reads,
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns the scorer's verdicts, calibrated."""
        return list(map(self._changed, self._scorer.score(responses)))

    def _changed(self, verdict: Verdict) -> Verdict:
        def changed(**fields: Any) -> Verdict:
            own = {"scorer": self.info.id, "annotator": None}
            return verdict.model_copy(update={**own, **fields})

        fit = self._calibration.dimensions.get(verdict.dimension)
        if verdict.score is None:
            return changed()
        if fit is None:
            return changed(
                score=None, unscored="not calibrated for the dimension", probabilities=None
            )
        if not verdict.probabilities:
            return changed(score=None, unscored="no probabilities", probabilities=None)
        new = apply(fit, verdict.probabilities)
        score, confidence = max(new.items(), key=lambda item: item[1])
        if confidence < (self._calibration.threshold or 0.0):
            return changed(score=None, unscored=LOW_CONFIDENCE, probabilities=new)
        return changed(score=int(score), probabilities=new)


def parts(argument: str) -> list[str]:
    """Lists the scorer that `calibrated:FILE` calibrates."""
    return [load_calibration(argument).scorer]


def load(argument: str, context: ScorerContext) -> CalibratedScorer:
    """Loads `calibrated:FILE`: the scorer that the file names, calibrated by it."""
    calibration = load_calibration(argument)
    version = hashlib.sha256(calibration.to_json().encode("utf-8")).hexdigest()[:8]
    return CalibratedScorer(load_among(calibration.scorer, context), calibration, version)


Method = Literal["temperature", "isotonic"]
Array = NDArray[np.float64]

TINY = 1e-6
"""The smallest probability that a logarithm is taken of."""


class Curve(Frozen, extra="forbid"):
    """A rising step function through its knots, linear between them."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class Fit(Frozen, extra="forbid"):
    """The change of the probabilities of one dimension.

    `temperature` scales all of them, `curves` change each score's (by its number as text). A
    dimension with too few labels uses the temperature of all dimensions together (`pooled`).
    """

    n: int
    temperature: Annotated[float, Field(gt=0)] | None = None
    curves: dict[str, Curve] | None = None
    pooled: bool = False


class Quality(Frozen, extra="forbid"):
    """How well probabilities fit labels.

    `nll` is the mean negative log-likelihood, `ece` the likeliest score's error over ten bins.
    """

    n: int
    accuracy: float
    nll: float
    ece: float


class Abstention(Frozen, extra="forbid"):
    """The effect of a threshold, on prompts that were not fitted on."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    kept: int
    n: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None


class Calibration(Frozen, extra="forbid"):
    """A calibration as its file holds it; `files` and `models` are what it was fitted on."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    method: Method
    scorer: str
    scorer_id: str
    taxonomy: str
    labels: str
    files: dict[str, str] = Field(default_factory=dict)
    models: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    dimensions: dict[str, Fit]
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    before: Quality
    after: Quality
    abstention: Abstention | None = None

    def to_json(self) -> str:
        """Returns one line of JSON."""
        return dump_line(self.model_dump(by_alias=True, exclude_none=True)) + "\n"


def apply(fit: Fit, probabilities: Mapping[str, float]) -> dict[str, float]:
    """Returns probabilities as a fit changes them."""
    values = np.array(list(probabilities.values()), dtype=np.float64)
    if fit.temperature is not None:
        new = scaled(values[None, :], fit.temperature)[0]
    else:
        pairs = [((fit.curves or {}).get(score), p) for score, p in probabilities.items()]
        new = np.array([np.interp(p, c.x, c.y) if c else 0.0 for c, p in pairs])
        new = values if new.sum() <= 0 else new
    new = new / new.sum()
    return dict(zip(probabilities, map(float, new), strict=True))


def scaled(probabilities: Array, temperature: float) -> Array:
    """Returns rows of probabilities (n, classes) at another temperature."""
    logits = np.log(np.clip(probabilities, TINY, 1.0)) / temperature
    raised: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float64)


def load_calibration(path: str | Path) -> Calibration:
    """Reads a calibration file."""
    return read_json_file(Calibration, path, "calibration")


def save_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Writes a calibration file."""
    return write_atomic(path, calibration.to_json())
