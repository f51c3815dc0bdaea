"""A cascade: a cheap scorer first, an expensive one where the cheap one is not sure.

`cascade:lexical>judge:MODEL` (option `threshold`, 0.8 unless given), or `cascade:FILE`, a JSON
file in which a step may have a threshold and options of its own:

    {"steps": [{"scorer": "calibrated:lexical.json", "threshold": 0.9},
               {"scorer": "judge:deepseek/deepseek-chat", "options": {"votes": 3}}]}

A step decides a response if it gives a score and the score's probability reaches the threshold;
a step that gives no probabilities decides whatever it scores, and so does the last one. What no
step could score stays unscored, for the last step's reason.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flames.errors import InputError, UsageError
from flames.options import Opt
from flames.records import Response, Verdict, verdict_for
from flames.scorers.asking import together
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo
from flames.scorers.registry import check_options, load_among
from flames.storage.rows import parse_json

THRESHOLD = 0.8


@dataclass(frozen=True)
class CascadeOptions:
    """The options of a cascade, beside those of its steps."""

    threshold: Annotated[
        float, Opt("Probability from which a step's score is final.", min=0, max=1)
    ] = THRESHOLD


@dataclass(frozen=True)
class Step:
    """A scorer, and how sure it must be to decide."""

    scorer: Scorer
    threshold: float = THRESHOLD


class CascadeScorer:
    """Scorers that are asked in turn, each only about what the earlier ones left open.

    Every verdict carries `step` (the id of the scorer that decided), what each step that was
    asked said and took (`cascade`), and what all of them took (`judging`). `flames.analysis.cost`
    adds that up.

    Args:
        steps: At least two.
        taxonomy: What they judge by, by its id.
    """

    def __init__(self, steps: Sequence[Step], taxonomy: str) -> None:
        if len(steps) < 2:
            raise UsageError("a cascade needs at least two scorers: cascade:lexical>judge:MODEL")
        self.steps = tuple(steps)
        infos = [step.scorer.info for step in steps]
        self.window = max(getattr(step.scorer, "window", 256) for step in steps)
        self.info = ScorerInfo(
            id=_cascade_id(steps),
            title=f"A cascade of {len(steps)} scorers, each asked where the last was not sure",
            taxonomy=taxonomy,
            notes=tuple(dict.fromkeys(note for info in infos for note in info.notes)),
            details={
                "steps": [info.id for info in infos],
                "thresholds": [step.threshold for step in steps[:-1]],
            },
            learnt=tuple(dict.fromkeys(each for info in infos for each in info.learnt)),
            probabilities=any(info.probabilities for info in infos),
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict a response, from the first step that is sure.

        Raises:
            OutsideError: A step's endpoint had to be given up.
        """
        said: list[list[Verdict]] = [[] for _ in responses]
        decided = [False] * len(responses)
        for number, step in enumerate(self.steps):
            last = number == len(self.steps) - 1
            left = [n for n, done in enumerate(decided) if not done]
            if not left:
                break
            verdicts = step.scorer.score([responses[n] for n in left])
            for n, verdict in zip(left, verdicts, strict=True):
                said[n].append(verdict)
                decided[n] = last or _sure(verdict, step.threshold)
        return [self._verdict(r, steps) for r, steps in zip(responses, said, strict=True)]

    def _verdict(self, response: Response, said: Sequence[Verdict]) -> Verdict:
        final = said[-1]
        extra: dict[str, Any] = {**final.extra, "step": final.scorer}
        extra["cascade"] = [_brief(verdict) for verdict in said]
        if taken := together([v.extra["judging"] for v in said if "judging" in v.extra]):
            extra["judging"] = taken
        return verdict_for(
            response,
            scorer=self.info.id,
            dimension=final.dimension,
            score=final.score,
            unscored=final.unscored,
            probabilities=final.probabilities,
            rationale=final.rationale,
            **extra,
        )


def _sure(verdict: Verdict, threshold: float) -> bool:
    if verdict.score is None:
        return False
    if not verdict.probabilities:
        return True
    return verdict.probabilities.get(str(verdict.score), 0.0) >= threshold


def _brief(verdict: Verdict) -> dict[str, Any]:
    said: dict[str, Any] = {"scorer": verdict.scorer, "score": verdict.score}
    if verdict.unscored is not None:
        said["unscored"] = verdict.unscored
    if verdict.probabilities and verdict.score is not None:
        said["confidence"] = round(verdict.probabilities.get(str(verdict.score), 0.0), 4)
    if "judging" in verdict.extra:
        said["judging"] = verdict.extra["judging"]
    return said


def _cascade_id(steps: Sequence[Step]) -> str:
    names = ">".join(step.scorer.info.id for step in steps)
    thresholds = ",".join(f"{step.threshold:g}" for step in steps[:-1])
    return f"cascade:{names}@{thresholds}"


# --- loading ----------------------------------------------------------------------------------


class _StepFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scorer: str
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: Annotated[list[_StepFile], Field(min_length=2)]


def parts(argument: str) -> list[str]:
    """The steps of `cascade:A>B` or `cascade:FILE`."""
    return [step.scorer for step in _described(argument)]


def load(argument: str, context: ScorerContext) -> CascadeScorer:
    """`cascade:A>B` or `cascade:FILE`.

    Raises:
        InputError: The file is no cascade.
        UsageError: A step cannot be loaded, or the threshold is no share.
    """
    threshold = context.read(CascadeOptions).threshold
    shared = {name: v for name, v in context.options.items() if name != "threshold"}
    steps = []
    for step in _described(argument):
        check_options((step.scorer,), step.options)
        own = replace(context, options={**shared, **step.options})
        sure = threshold if step.threshold is None else step.threshold
        steps.append(Step(load_among(step.scorer, own), sure))
    return CascadeScorer(steps, context.taxonomy.id)


def _described(argument: str) -> list[_StepFile]:
    if ">" in argument:
        return [_StepFile(scorer=part.strip()) for part in argument.split(">")]
    return _read(argument).steps


def _read(path: str) -> _File:
    if not os.path.isfile(path):
        raise UsageError(f"cascade:{path}: no such file, and no A>B")
    try:
        text = Path(path).read_text("utf-8")
        return _File.model_validate(parse_json(text, path, None))
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", path=path) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        raise InputError(f"is no cascade: {first['msg']}", path=path, field=field) from None
