"""A scorer with its probabilities calibrated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

from flames.errors import UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import Learnt, Scorer, ScorerContext, ScorerInfo
from flames.scorers.calibration._file import Calibration, apply, load_calibration
from flames.scorers.registry import load_among

LOW_CONFIDENCE = "low confidence"


class CalibratedScorer:
    """A scorer with its probabilities calibrated, abstaining where it is not sure enough.

    Args:
        scorer: The scorer that the calibration was fitted for.
        calibration: The calibration.
        version: What tells this calibration from others.

    Raises:
        UsageError: It was fitted for another scorer.
    """

    def __init__(self, scorer: Scorer, calibration: Calibration, version: str) -> None:
        if scorer.info.id != calibration.scorer_id:
            raise UsageError(
                f"the calibration was fitted for {calibration.scorer_id}, "
                f"and this is {scorer.info.id}; calibrate anew"
            )
        self._scorer = scorer
        self._calibration = calibration
        self.window = getattr(scorer, "window", 256)
        name = f"{scorer.info.id}+calibrated-{version}"
        own = Learnt(name, tuple(calibration.files.values()), calibration.models)
        self.info = ScorerInfo(
            id=name,
            title=f"{scorer.info.title}, calibrated ({calibration.method})",
            taxonomy=scorer.info.taxonomy,
            notes=(*scorer.info.notes, f"calibrated on {calibration.labels}", *calibration.notes),
            details={
                **scorer.info.details,
                "calibration": calibration.model_dump(
                    include={"method", "threshold", "before", "after", "abstention"},
                    exclude_none=True,
                ),
            },
            learnt=(*scorer.info.learnt, own),
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """The scorer's verdicts, calibrated."""
        verdicts = self._scorer.score(responses)
        return [self._changed(r, v) for r, v in zip(responses, verdicts, strict=True)]

    def _changed(self, response: Response, verdict: Verdict) -> Verdict:
        fit = self._calibration.dimensions.get(verdict.dimension)
        told = partial(
            verdict_for,
            response,
            scorer=self.info.id,
            dimension=verdict.dimension,
            rationale=verdict.rationale,
            **verdict.extra,
        )
        if verdict.score is None:
            return told(unscored=verdict.unscored, probabilities=verdict.probabilities)
        if fit is None:
            return told(unscored="not calibrated for the dimension")
        if not verdict.probabilities:
            return told(unscored="no probabilities")
        new = apply(fit, verdict.probabilities)
        score, confidence = max(new.items(), key=lambda item: item[1])
        if confidence < (self._calibration.threshold or 0.0):
            return told(unscored=LOW_CONFIDENCE, probabilities=new)
        return told(score=int(score), probabilities=new)


def parts(argument: str) -> list[str]:
    """The scorer that `calibrated:FILE` calibrates."""
    return [load_calibration(argument).scorer]


def load(argument: str, context: ScorerContext) -> CalibratedScorer:
    """`calibrated:FILE`: the scorer that the file names, calibrated by it.

    Raises:
        InputError: The file is no calibration.
        UsageError: It was fitted for another scorer than is found.
    """
    calibration = load_calibration(argument)
    version = hashlib.sha256(calibration.to_json().encode("utf-8")).hexdigest()[:8]
    return CalibratedScorer(load_among(calibration.scorer, context), calibration, version)
