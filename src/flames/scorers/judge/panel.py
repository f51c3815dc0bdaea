"""Several judges on each response: the majority, or the mean where they agree well enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flames.errors import UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.asking import brief_verdict, open_model, total_usage
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo
from flames.scorers.judge.scorer import (
    NO_MAJORITY,
    JudgeOptions,
    JudgeScorer,
    Rule,
    judge_with,
    majority,
    shares,
)
from flames.taxonomy import Taxonomy

MIN_AGREEMENT = 0.5
"""The share of the judges' scores that must be on the level of their mean."""


class PanelScorer:
    """Judges whose verdicts are combined.

    `majority` takes the score of more than half of the judges. `mean` takes the level that is
    nearest to the mean of their scores, if more than half of the judges gave a score and at
    least half of those gave that level. Without either, a response is unscored.
    """

    def __init__(
        self, judges: Sequence[JudgeScorer], taxonomy: Taxonomy, rule: Rule = "majority"
    ) -> None:
        name, times = Counter(judge.info.id for judge in judges).most_common(1)[0]
        if times > 1:
            raise UsageError(f"the panel names {name} twice; use votes=N instead")
        self._judges = tuple(judges)
        self._taxonomy = taxonomy
        self._rule = rule
        self.window = max(judge.window for judge in judges)
        versions = dict.fromkeys(judge.version for judge in judges)
        version = "+".join(versions) + ("" if rule == "majority" else f"-{rule}")
        self.info = ScorerInfo(
            id=f"judge:{'+'.join(judge.name for judge in judges)}@{version}",
            title=f"A panel of {len(judges)} judges, by {rule}",
            taxonomy=taxonomy.id,
            notes=judges[0].info.notes,
            details={"rule": rule, "judges": [dict(judge.info.details) for judge in judges]},
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response, with each judge's own in it."""
        given = [judge.score(responses) for judge in self._judges]
        return [self._verdict(r, cast) for r, *cast in zip(responses, *given, strict=True)]

    def _verdict(self, response: Response, cast: Sequence[Verdict]) -> Verdict:
        dimension = self._taxonomy.dimension(response.dimension or "")
        scores = [verdict.score for verdict in cast if verdict.score is not None]
        score, reason = majority(scores, len(cast), (verdict.unscored for verdict in cast))
        mean = sum(scores) / len(scores) if scores else None
        if self._rule == "mean" and mean is not None:
            score = _nearest(mean, scores, dimension.scale) if 2 * len(scores) > len(cast) else None
            reason = None if score is not None else NO_MAJORITY
        example = next((v for v in cast if v.score == score and v.rationale), cast[0])
        extra: dict[str, Any] = {
            "judging": total_usage(cast),
            "panel": [brief_verdict(verdict) for verdict in cast],
        }
        if scores:
            extra["agreement"] = round(Counter(scores).most_common(1)[0][1] / len(cast), 4)
        return verdict_for(
            response,
            scorer=self.info.id,
            dimension=dimension.name,
            score=score,
            unscored=reason,
            probabilities=shares(scores, dimension) if scores else None,
            rationale=example.rationale,
            **extra,
        )


def _nearest(mean: float, scores: Sequence[int], scale: Sequence[int]) -> int | None:
    distances = sorted((abs(level - mean), level) for level in scale)
    if len(distances) > 1 and distances[0][0] == distances[1][0]:
        return None
    level = distances[0][1]
    return level if scores.count(level) >= MIN_AGREEMENT * len(scores) else None


def load(argument: str, context: ScorerContext) -> Scorer:
    """Loads `judge:MODEL`, or the panel `judge:A+B+C`."""
    names = [name.strip() for name in argument.split("+")]
    if not all(names):
        raise UsageError(f"judge:{argument} names no model; use judge:MODEL or judge:A+B")
    judges = [judge_with(open_model(name, context), context) for name in names]
    if len(judges) == 1:
        return judges[0]
    return PanelScorer(judges, context.taxonomy, context.read(JudgeOptions).rule)
