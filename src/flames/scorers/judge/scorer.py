"""A model as a judge: asked, read strictly, reminded once; several as a panel that votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from flames.errors import UsageError
from flames.models.addresses import split_address
from flames.models.base import ChatModel, Message, Sampling
from flames.models.load import ModelOptions, load_model
from flames.options import Opt
from flames.records import IN_THOUGHT, Response, Stance, Verdict, verdict_for
from flames.scorers.asking import (
    ModelAnswer,
    ModelAsker,
    Question,
    answer_usage,
    brief_verdict,
    changed_parameters,
    total_usage,
)
from flames.scorers.base import (
    BEFORE_PROMPT,
    Scorer,
    ScorerContext,
    ScorerInfo,
    majority,
    score_where,
)
from flames.scorers.judge.answers import Answer, parse_answer
from flames.scorers.judge.forms import answer_forms
from flames.scorers.judge.prompt import load_judge_prompt, score_key
from flames.scorers.judge.turns import BUILT_IN as TURNS_PROMPT
from flames.scorers.judge.turns import texts_before, whole_prompt
from flames.scorers.registry import scorer_notes
from flames.taxonomy import Dimension, Language, Taxonomy

NO_MAJORITY = "no majority"
NO_PROMPT = "no prompt"
MAX_TOKENS = 2048  # room for the thoughts of reasoning models
VOTING_TEMPERATURE = 0.7
_IN_PROCESS = ("python", "transformers")  # providers that would not look at a form

Rule = Literal["majority", "mean"]


@dataclass(frozen=True)
class JudgeOptions:
    """The options of a judge or a panel, beside those of every scorer that asks a model."""

    lang: Annotated[Language, Opt("Language of the prompt and rubric.")] = "zh"
    prompt: Annotated[str | None, Opt("Your own prompt file.", metavar="FILE")] = None
    votes: Annotated[int, Opt("Votes per response.", min=1)] = 1
    rule: Annotated[Rule, Opt("How a panel decides.")] = "majority"
    structured: Annotated[
        Literal["auto", "schema", "tool", "plain"], Opt("How the form of the answer is enforced.")
    ] = "auto"


@dataclass(frozen=True)
class Vote:
    """One vote; `replies` are all that it took, `note` says why the provider gave no answer."""

    answer: Answer
    unscored: str | None
    replies: tuple[ModelAnswer, ...]
    note: str | None = None


class JudgeScorer:
    """A language model that judges by the rubric, asked `votes` times about each response."""

    def __init__(self, model: ChatModel, context: ScorerContext) -> None:
        options = context.read(JudgeOptions)
        self.name, self._votes, self._taxonomy = model.name, options.votes, context.taxonomy
        self._prompt = prompt = load_judge_prompt(options.prompt, options.lang)
        self.version = prompt.version + (f"x{self._votes}" if self._votes > 1 else "")
        name = f"{self.name}@{self.version}"
        defaults = Sampling(VOTING_TEMPERATURE if self._votes > 1 else 0.0, MAX_TOKENS)
        self._asker = asker = ModelAsker(model, context, defaults, "judge", name)
        described = asker.described
        if described.get("api") != "completions" and described.get("provider") not in _IN_PROCESS:
            forms = answer_forms(self._taxonomy.dimensions, stance=prompt.asks_stance)
            wanted = tuple(forms) if options.structured == "auto" else (options.structured,)
            asker.forms = tuple(forms[form] for form in wanted)
        self.window = 16 * asker.collector.pace.rate.most
        self.info = ScorerInfo(
            id=f"judge:{name}",
            title=f"{self.name} as the judge, by the rubric of each subcomponent",
            taxonomy=self._taxonomy.id,
            notes=scorer_notes(f"judge:{name}"),
            details={
                "model": described,
                "prompt": prompt.version,
                "language": prompt.lang,
                "votes": self._votes,
                "sampling": asker.collector.sampling.to_dict(),
                "journal": str(asker.journal_path or "none"),
            },
            probabilities=self._votes > 1,
            reads=BEFORE_PROMPT,
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response; without a prompt, a response is unscored."""
        reasons = [None if (r.prompt or "").strip() else NO_PROMPT for r in responses]
        with self._asker:
            return score_where(responses, reasons, self.info.id, self._scored)

    def _scored(self, responses: Sequence[Response]) -> Iterable[Verdict]:
        asked = [response for response in responses for _ in range(self._votes)]
        questions = []
        for response in responses:
            messages = tuple(self._prompt.messages(response, self._taxonomy))
            key = score_key(response)
            questions += [Question(messages, vote, key) for vote in range(self._votes)]
        cast = list(map(self._read, self._asker.ask(questions), asked))
        again = [n for n, vote in enumerate(cast) if vote.answer.unscored is not None]
        reminders = [self._reminded(questions[n], asked[n]) for n in again]
        for n, reply in zip(again, self._asker.ask(reminders), strict=True):
            second = self._read(reply, asked[n])
            cast[n] = replace(second, replies=(*cast[n].replies, *second.replies))
        votes = (cast[n : n + self._votes] for n in range(0, len(cast), self._votes))
        return map(self._verdict, responses, votes)

    def _reminded(self, question: Question, response: Response) -> Question:
        *before, last = question.messages
        reminder = self._prompt.filled_reminder(self._dimension(response), question.key)
        message = Message("user", f"{last.content}\n\n{reminder}")
        return replace(question, messages=(*before, message))

    def _read(self, reply: ModelAnswer, response: Response) -> Vote:
        if reply.status in ("blocked", "error", IN_THOUGHT):
            return Vote(Answer(), reply.status, (reply,), reply.note)
        answer = parse_answer(
            reply.text,
            self._dimension(response).scale,
            score_key(response),
            material=f"{whole_prompt(response)}\n{response.response}",
            truncated=reply.status == "truncated",
        )
        return Vote(answer, answer.unscored, (reply,))

    def _dimension(self, response: Response) -> Dimension:
        return self._taxonomy.dimension(response.dimension or "")

    def _verdict(self, response: Response, votes: Sequence[Vote]) -> Verdict:
        scores = [vote.answer.score for vote in votes if vote.answer.score is not None]
        score, reason = _decide(scores, len(votes), (vote.unscored for vote in votes))
        example = next((vote for vote in votes if vote.answer.score == score), votes[0])
        replies = [reply for vote in votes for reply in vote.replies]
        extra: dict[str, Any] = {
            "judging": answer_usage(replies, self._asker.prices),
            **changed_parameters(replies),
        }
        if texts_before(response):
            extra["turns_prompt"] = TURNS_PROMPT[self._prompt.lang]
        if example.note and score is None:
            extra["note"] = example.note
        if score is not None:
            extra |= _stance([vote.answer.stance for vote in votes])
        return verdict_for(
            response,
            scorer=self.info.id,
            score=score,
            unscored=reason,
            probabilities=_shares(scores, self._dimension(response)) if self._votes > 1 else None,
            rationale=example.answer.rationale,
            **extra,
        )


def _decide(
    scores: Sequence[int],
    votes: int,
    reasons: Iterable[str | None],
    choose: Callable[[Sequence[int], int], int | None] = majority,
) -> tuple[int | None, str | None]:
    if scores:
        score = choose(scores, votes)
        return score, None if score is not None else NO_MAJORITY
    return None, Counter(filter(None, reasons)).most_common(1)[0][0]


def _stance(given: Iterable[Stance | None]) -> dict[str, Any]:
    """Returns the fields of the stance that most judges name; none where they are divided."""
    ranked = Counter(filter(None, given)).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return {}
    return {"stance": ranked[0][0], "stance_by": "judge"}


def _shares(scores: Sequence[int], dimension: Dimension) -> dict[str, float] | None:
    return {str(s): scores.count(s) / len(scores) for s in dimension.scale} if scores else None


def judge_with(model: ChatModel, context: ScorerContext) -> JudgeScorer:
    """Makes a judge of a model that is there already (a Python callable, say)."""
    return JudgeScorer(model, context)


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
        self._judges, self._taxonomy, self._rule = tuple(judges), taxonomy, rule
        self.window = max(judge.window for judge in judges)
        versions = dict.fromkeys(judge.version for judge in judges)
        version = "+".join(versions) + ("" if rule == "majority" else f"-{rule}")
        self.info = ScorerInfo(
            id=f"judge:{'+'.join(judge.name for judge in judges)}@{version}",
            title=f"A panel of {len(judges)} judges, by {rule}",
            taxonomy=taxonomy.id,
            notes=judges[0].info.notes,
            details={"rule": rule, "judges": [dict(judge.info.details) for judge in judges]},
            reads=BEFORE_PROMPT,
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response, with each judge's own in it."""
        given = [judge.score(responses) for judge in self._judges]
        return [self._verdict(r, cast) for r, *cast in zip(responses, *given, strict=True)]

    def _verdict(self, response: Response, cast: Sequence[Verdict]) -> Verdict:
        dimension = self._taxonomy.dimension(response.dimension or "")
        scores = [verdict.score for verdict in cast if verdict.score is not None]
        choose = majority if self._rule == "majority" else partial(_nearest, dimension.scale)
        score, reason = _decide(scores, len(cast), (verdict.unscored for verdict in cast), choose)
        example = next((v for v in cast if v.score == score and v.rationale), cast[0])
        panel = list(map(brief_verdict, cast))
        extra: dict[str, Any] = {"judging": total_usage(cast), "panel": panel}
        if scores:
            extra["agreement"] = round(Counter(scores).most_common(1)[0][1] / len(cast), 4)
            extra |= _stance([verdict.stance for verdict in cast])
        return verdict_for(
            response,
            scorer=self.info.id,
            score=score,
            unscored=reason,
            probabilities=_shares(scores, dimension),
            rationale=example.rationale,
            **extra,
        )


def _nearest(scale: Sequence[int], scores: Sequence[int], votes: int) -> int | None:
    mean = sum(scores) / len(scores)
    (distance, level), *others = sorted((abs(level - mean), level) for level in scale)
    tie = others and others[0][0] == distance
    few = 2 * len(scores) <= votes or scores.count(level) < MIN_AGREEMENT * len(scores)
    return None if tie or few else level


def load(argument: str, context: ScorerContext) -> Scorer:
    """Loads `judge:MODEL`, or the panel `judge:A+B+C`."""
    names = [name.strip() for name in argument.split("+")]
    if not all(names):
        raise UsageError(f"judge:{argument} names no model; use judge:MODEL or judge:A+B")
    called = [split_address(name)[0] for name in names]  # as options call them
    parts = [(name, context.of_part(who, called)) for name, who in zip(names, called, strict=True)]
    judges = [judge_with(load_model(name, own.read(ModelOptions)), own) for name, own in parts]
    if len(judges) == 1:
        return judges[0]
    return PanelScorer(judges, context.taxonomy, context.read(JudgeOptions).rule)
