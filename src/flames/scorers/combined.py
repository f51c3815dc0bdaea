"""Scorers made of other scorers: cascades and ensembles.

`cascade:lexical>judge:MODEL` asks a cheap scorer first, an expensive one where the cheap one is
not sure (option `threshold`). `cascade:FILE` names a JSON file whose steps may have a threshold
and options of their own:

    {"steps": [{"scorer": "calibrated:lexical.json", "threshold": 0.9},
               {"scorer": "judge:deepseek/deepseek-chat", "options": {"votes": 3}}]}

`ensemble:lexical+scorers/mine` takes the mean of several scorers' probabilities, which is
usually better than either, since different scorers err on different responses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from flames.errors import UsageError
from flames.options import Opt
from flames.records import Frozen, Response, Verdict, verdict_for
from flames.scorers.asking import brief_verdict, total_usage
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo
from flames.scorers.registry import check_understood, load_among
from flames.storage.text_files import read_json_file

THRESHOLD = 0.8


@dataclass(frozen=True)
class Step:
    """A step of a cascade: a scorer, and the probability from which its score is final."""

    scorer: Scorer
    threshold: float = THRESHOLD


class CascadeScorer:
    """Scorers that are asked in turn, each only about what the earlier ones left open.

    A step decides a response if it gives a score whose probability reaches the threshold. A step
    without probabilities decides whatever it scores, and so does the last one. What no step could
    score is unscored, for the last step's reason.

    Every verdict carries `step` (the id of the scorer that decided), what each step that was
    asked said and used (`cascade`), and what all of them used (`judging`).
    """

    def __init__(self, steps: Sequence[Step], taxonomy: str) -> None:
        if len(steps) < 2:
            raise UsageError("a cascade needs at least two scorers: cascade:lexical>judge:MODEL")
        self._steps = tuple(steps)
        scorers = [step.scorer for step in steps]
        thresholds = [step.threshold for step in steps[:-1]]
        self.window = max(getattr(scorer, "window", 256) for scorer in scorers)
        names = ">".join(scorer.info.id for scorer in scorers)
        self.info = _combined_info(
            scorers,
            id=f"cascade:{names}@{','.join(f'{each:g}' for each in thresholds)}",
            title=f"A cascade of {len(steps)} scorers, each asked where the last was not sure",
            taxonomy=taxonomy,
            details={"steps": [s.info.id for s in scorers], "thresholds": thresholds},
            probabilities=any(scorer.info.probabilities for scorer in scorers),
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response, from the first step that is sure."""
        given: list[list[Verdict]] = [[] for _ in responses]
        left = list(range(len(responses)))
        for step in self._steps:
            verdicts = step.scorer.score([responses[n] for n in left]) if left else []
            for n, verdict in zip(left, verdicts, strict=True):
                given[n].append(verdict)
            left = [n for n in left if not _is_sure(given[n][-1], step.threshold)]
        return list(map(self._verdict, given))

    def _verdict(self, given: Sequence[Verdict]) -> Verdict:
        own = {"scorer": self.info.id, "annotator": None, "step": given[-1].scorer}
        steps = {"cascade": list(map(_brief_step, given)), **_usage(given)}
        return given[-1].model_copy(update={**own, **steps})


def _is_sure(verdict: Verdict, threshold: float) -> bool:
    if verdict.score is None or not verdict.probabilities:
        return verdict.score is not None
    return verdict.probabilities.get(str(verdict.score), 0.0) >= threshold


def _brief_step(verdict: Verdict) -> dict[str, Any]:
    brief = brief_verdict(verdict)
    if verdict.probabilities and verdict.score is not None:
        brief["confidence"] = round(verdict.probabilities.get(str(verdict.score), 0.0), 4)
    if "judging" in verdict.extra:
        brief["judging"] = verdict.extra["judging"]
    return brief


class EnsembleScorer:
    """The mean of several scorers' probabilities, each with the same weight.

    The score is the most likely one under the mean. A response that a member cannot score, or
    scores without probabilities, is unscored, and the reason names that member: a mean over fewer
    would be another scorer. Every verdict carries what each member said (`ensemble`).
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
        self._members = tuple(members)
        self.window = max(getattr(member, "window", 256) for member in members)
        self.info = _combined_info(
            members,
            id="ensemble:" + "+".join(info.id for info in infos),
            title=f"The mean of {len(infos)} scorers' probabilities",
            taxonomy=taxonomy,
            details={"members": [info.id for info in infos]},
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response, from all members' probabilities."""
        given = zip(*(member.score(responses) for member in self._members), strict=True)
        return [self._verdict(r, each) for r, each in zip(responses, given, strict=True)]

    def _verdict(self, response: Response, given: Sequence[Verdict]) -> Verdict:
        extra: dict[str, Any] = {}
        for verdict in reversed(given):
            extra.update(verdict.extra)
        extra["ensemble"] = [
            {**brief_verdict(v), **({"probabilities": v.probabilities} if v.probabilities else {})}
            for v in given
        ]
        extra.update(_usage(given))
        if reason := next(filter(None, map(_lack, given)), None):
            return verdict_for(response, scorer=self.info.id, unscored=reason, **extra)
        chances = [each.probabilities or {} for each in given]
        mean = {score: sum(c.get(score, 0.0) for c in chances) / len(given) for score in chances[0]}
        return verdict_for(
            response,
            scorer=self.info.id,
            dimension=given[0].dimension,
            score=int(max(mean, key=mean.__getitem__)),
            probabilities=mean,
            **extra,
        )


def _lack(verdict: Verdict) -> str | None:
    if verdict.score is None:
        return f"{verdict.scorer}: {verdict.unscored}"
    return None if verdict.probabilities else f"{verdict.scorer} gives no probabilities"


def _combined_info(scorers: Sequence[Scorer], **fields: Any) -> ScorerInfo:
    infos = [scorer.info for scorer in scorers]
    notes = tuple(dict.fromkeys(note for info in infos for note in info.notes))
    learnt = tuple(dict.fromkeys(labels for info in infos for labels in info.learnt))
    reads = frozenset.intersection(*(info.reads for info in infos))
    return ScorerInfo(notes=notes, learnt=learnt, reads=reads, **fields)


def _usage(given: Sequence[Verdict]) -> dict[str, Any]:
    usage = total_usage(given)
    return {"judging": usage} if usage else {}


@dataclass(frozen=True)
class CascadeOptions:
    """The options of a cascade, beside those of its steps."""

    threshold: Annotated[float, Opt("Probability that ends the cascade.", min=0, max=1)] = THRESHOLD


class _StepFile(Frozen, extra="forbid"):
    scorer: str
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class _CascadeFile(Frozen, extra="forbid"):
    steps: Annotated[list[_StepFile], Field(min_length=2)]


def cascade_parts(argument: str) -> list[str]:
    """Lists the steps of `cascade:A>B` or `cascade:FILE`."""
    return [step.scorer for step in _steps(argument)]


def load_cascade(argument: str, context: ScorerContext) -> CascadeScorer:
    """Loads `cascade:A>B` or `cascade:FILE`."""
    threshold = context.read(CascadeOptions).threshold
    shared = {name: v for name, v in context.options.items() if name != "threshold"}
    steps = []
    for step in _steps(argument):
        check_understood((step.scorer,), step.options)
        own = replace(context, options={**shared, **step.options})
        final = threshold if step.threshold is None else step.threshold
        steps.append(Step(load_among(step.scorer, own), final))
    return CascadeScorer(steps, context.taxonomy.id)


def _steps(argument: str) -> list[_StepFile]:
    if ">" in argument:
        return [_StepFile(scorer=part.strip()) for part in argument.split(">")]
    if not os.path.isfile(argument):
        raise UsageError(f"cascade:{argument}: no such file, and no A>B")
    return read_json_file(_CascadeFile, argument, "cascade").steps


def ensemble_parts(argument: str) -> list[str]:
    """Lists the members of `ensemble:A+B`."""
    return [part.strip() for part in argument.split("+")]


def load_ensemble(argument: str, context: ScorerContext) -> EnsembleScorer:
    """Loads `ensemble:A+B`."""
    members = [load_among(part, context) for part in ensemble_parts(argument)]
    return EnsembleScorer(members, context.taxonomy.id)
