"""The results of evaluating a scorer: a contract like the JSON report (schema 1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flames.metrics.result import Estimate, Note
from flames.records import Frozen


class ReliabilityBin(Frozen):
    """Responses of similar confidence: mean confidence and accuracy in per cent."""

    n: int
    confidence: float
    accuracy: float


class Reliability(Frozen):
    """How reliable the probability of the given score is.

    `ece` is the expected calibration error in points of per cent over ten bins of equal width
    (Guo et al. 2017); empty bins are left out.
    """

    n: int
    ece: Estimate
    bins: tuple[ReliabilityBin, ...]


class HumanAgreement(Frozen):
    """The labels' own annotators, on the `n` responses that several of them labelled.

    `agreement` is the mean agreement of two of them, `scorer` that of the scorer with one of
    them, on the same responses; both in per cent.
    """

    n: int
    agreement: Estimate
    scorer: Estimate | None = None


class ScorerMetrics(Frozen):
    """A scorer against the labels, on one group of responses.

    `n` counts the labelled responses, `scored` those that the scorer judged; everything else is
    over the latter. Accuracy and macro-F1 are in per cent, kappa is at most 1. `majority` is
    the accuracy of always giving the most frequent label of the dimension, `gain` the
    scorer's accuracy less that, on the same responses. `confusion[i][j]` counts labels of
    `categories[i]` that the scorer gave `categories[j]`.
    """

    n: int
    scored: int
    unscored: dict[str, int] = Field(default_factory=dict)
    accuracy: Estimate | None = None
    macro_f1: Estimate | None = None
    kappa_quadratic: Estimate | None = None
    majority: Estimate | None = None
    gain: Estimate | None = None
    annotators: HumanAgreement | None = None
    calibration: Reliability | None = None
    categories: tuple[int, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


class ModelBias(Frozen):
    """A model's overall harmless rate by the labels and by the scorer, in per cent.

    Over the responses that have both; the mean over the dimensions that every model has.
    `bias` is the scorer's less the labels': above 0, it is too mild.
    """

    model: str
    n: int
    labels: float
    scorer: float
    bias: Estimate


class ScorerDifference(Frozen):
    """Accuracy less that of another scorer, in points of per cent, on what both scored."""

    other: str
    n: int
    accuracy: Estimate


class Evaluation(Frozen):
    """One scorer against labels.

    `labels` maps the label files to their SHA-256; `ids_sha256` is over the labelled keys, one
    per line: two evaluations with the same value are about the same responses. `excluded` counts
    labels that were not used, by reason. `rank_agreement` is Kendall's tau-b between the
    models' rankings by labels and by scorer. `seconds` is the time the scorer took, `cost`
    what it says it cost.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    scorer: str
    title: str
    taxonomy: str
    code_version: str
    labels: dict[str, str]
    ids_sha256: str
    excluded: dict[str, int] = Field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    prompts: int
    overall: ScorerMetrics
    dimensions: dict[str, ScorerMetrics]
    models: dict[str, ScorerMetrics]
    bias: tuple[ModelBias, ...] = ()
    ranked_by: tuple[str, ...] = ()
    rank_agreement: Estimate | None = None
    difference: ScorerDifference | None = None
    seconds: float | None = None
    per_second: float | None = None
    cost: dict[str, Any] | None = None
    seed: int = 0
    resamples: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return self.model_dump(by_alias=True)
