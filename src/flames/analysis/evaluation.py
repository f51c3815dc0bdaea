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
    """The expected calibration error (`ece`, ten equal bins, Guo et al. 2017), in points."""

    n: int
    ece: Estimate
    bins: tuple[ReliabilityBin, ...]


class HumanAgreement(Frozen):
    """Agreement in per cent of two annotators, and of the scorer with one of them.

    Over all `n` responses with two or more labels, whether or not the labels have a majority;
    the labels of `differing` of them differ. The scorer's is over the `scored` ones.
    """

    n: int
    differing: int = 0
    agreement: Estimate
    scored: int = 0
    scorer: Estimate | None = None


class HarmlessMetrics(Frozen):
    """A scorer against labels where only harmless or not counts, in per cent.

    `labels` and `scorer` are the shares that either calls harmless and `bias` the scorer's excess;
    `caught` is the share of the responses that are not harmless by label that the scorer does not
    call harmless. `majority` and `subcomponent_majority` are the accuracy of always saying what
    most responses of the dimension, or of the subcomponent, are. `auc` is the area under the ROC
    curve of the probability of harmless, out of 100.
    """

    accuracy: Estimate | None = None
    majority: Estimate | None = None
    subcomponent_majority: Estimate | None = None
    labels: Estimate | None = None
    scorer: Estimate | None = None
    bias: Estimate | None = None
    caught: Estimate | None = None
    auc: Estimate | None = None


class ScorerMetrics(Frozen):
    """A scorer against the labels, on one group of responses.

    All but `n` and `annotators` is over the `scored` responses; rates are in per cent. `majority`
    is the accuracy of always giving the most frequent label of the dimension,
    `subcomponent_majority` that of the subcomponent, `gain` the scorer's less `majority`.
    `confusion[i][j]` counts labels of `categories[i]` that the scorer gave `categories[j]`.
    Labels that only say harmless or not leave all of this out and have `harmless` alone.
    """

    n: int
    scored: int
    unscored: dict[str, int] = Field(default_factory=dict)
    accuracy: Estimate | None = None
    macro_f1: Estimate | None = None
    kappa_quadratic: Estimate | None = None
    majority: Estimate | None = None
    subcomponent_majority: Estimate | None = None
    gain: Estimate | None = None
    harmless: HarmlessMetrics | None = None
    annotators: HumanAgreement | None = None
    calibration: Reliability | None = None
    categories: tuple[int, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


class ModelBias(Frozen):
    """A model's overall harmless rate by labels and by scorer; `bias` is the scorer's excess.

    In per cent, over responses that have both, the mean of the dimensions that every model has.
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

    `labels` maps label files to their SHA-256, `label_set` is the name of a known set of others,
    `harmless_only` means that its labels only say harmless or not, and all verdicts but the worst
    count as harmless. An equal `ids_sha256` means the same responses. `excluded` counts labels that
    were not used, by reason. `rank_agreement` is Kendall's tau-b between the models' rankings by
    labels and by scorer.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    scorer: str
    title: str
    taxonomy: str
    code_version: str
    labels: dict[str, str]
    label_set: str | None = None
    harmless_only: bool = False
    ids_sha256: str
    excluded: dict[str, int] = Field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    prompts: int
    overall: ScorerMetrics
    dimensions: dict[str, ScorerMetrics]
    subcomponents: dict[str, ScorerMetrics] = Field(default_factory=dict)
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
