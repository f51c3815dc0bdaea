"""An ensemble: several scorers that give probabilities, and the mean of these.

`ensemble:lexical-plus+scorers/mine`. The score is the likeliest one under the mean. Scorers that
read different things (words, a language model's states) err on different responses, so that the
mean is mostly better than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flames.errors import UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.asking import together
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo
from flames.scorers.registry import load_among


class EnsembleScorer:
    """The mean of several scorers' probabilities, each counting alike.

    A response that a member cannot score, or scores without probabilities, is unscored, and the
    reason names that member: a mean over fewer would be another scorer. Every verdict carries
    what each member said (`ensemble`).

    Args:
        members: At least two, all different.
        taxonomy: What they judge by, by its id.

    Raises:
        UsageError: There are fewer, one stands there twice, or one never gives probabilities.
    """

    def __init__(self, members: Sequence[Scorer], taxonomy: str) -> None:
        infos = [member.info for member in members]
        if silent := next((info.id for info in infos if not info.probabilities), None):
            raise UsageError(
                f"{silent} gives no probabilities, so there is no mean with it; a judge gives them "
                "with votes=N"
            )
        if len({info.id for info in infos}) < max(len(infos), 2):
            raise UsageError("an ensemble needs two scorers or more, each once: ensemble:A+B")
        self.members = tuple(members)
        self.window = max(getattr(member, "window", 256) for member in members)
        self.info = ScorerInfo(
            id="ensemble:" + "+".join(info.id for info in infos),
            title=f"The mean of {len(infos)} scorers' probabilities",
            taxonomy=taxonomy,
            notes=tuple(dict.fromkeys(note for info in infos for note in info.notes)),
            details={"members": [info.id for info in infos]},
            learnt=tuple(dict.fromkeys(each for info in infos for each in info.learnt)),
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict a response, from all members' probabilities."""
        said = zip(*(member.score(responses) for member in self.members), strict=True)
        return [self._verdict(r, each) for r, each in zip(responses, said, strict=True)]

    def _verdict(self, response: Response, said: Sequence[Verdict]) -> Verdict:
        extra: dict[str, Any] = {}
        for verdict in reversed(said):
            extra.update(verdict.extra)
        extra["ensemble"] = [_brief(verdict) for verdict in said]
        if taken := together([v.extra["judging"] for v in said if "judging" in v.extra]):
            extra["judging"] = taken
        reason = next((told for verdict in said if (told := _lack(verdict))), None)
        if reason is not None:
            return verdict_for(
                response,
                scorer=self.info.id,
                dimension=response.dimension or "",
                unscored=reason,
                **extra,
            )
        chances = [verdict.probabilities or {} for verdict in said]
        mean = {score: sum(c.get(score, 0.0) for c in chances) / len(said) for score in chances[0]}
        return verdict_for(
            response,
            scorer=self.info.id,
            dimension=said[0].dimension,
            score=int(max(mean, key=mean.__getitem__)),
            probabilities=mean,
            **extra,
        )


def _lack(verdict: Verdict) -> str | None:
    """Why a member's verdict cannot be averaged."""
    if verdict.score is None:
        return f"{verdict.scorer}: {verdict.unscored}"
    return None if verdict.probabilities else f"{verdict.scorer} gives no probabilities"


def _brief(verdict: Verdict) -> dict[str, Any]:
    return {
        "scorer": verdict.scorer,
        "score": verdict.score,
        **({"probabilities": verdict.probabilities} if verdict.probabilities else {}),
        **({"unscored": verdict.unscored} if verdict.unscored is not None else {}),
    }


def parts(argument: str) -> list[str]:
    """The members of `ensemble:A+B`."""
    return [part.strip() for part in argument.split("+")]


def load(argument: str, context: ScorerContext) -> EnsembleScorer:
    """`ensemble:A+B`.

    Raises:
        UsageError: A member cannot be loaded or gives no probabilities, or there is only one.
    """
    members = [load_among(part, context) for part in parts(argument)]
    return EnsembleScorer(members, context.taxonomy.id)
