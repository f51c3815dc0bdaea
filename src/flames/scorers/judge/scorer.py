"""One model as a judge: asked, read strictly, reminded once, and voted where it has k votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flames.models.base import Message
from flames.records import Response, Verdict, verdict_for
from flames.scorers.asking import (
    PLAIN,
    AnswerForm,
    ModelAnswer,
    ModelAsker,
    Question,
    answer_usage,
)
from flames.scorers.base import ScorerInfo
from flames.scorers.judge.answers import Answer, parse_answer
from flames.scorers.judge.prompt import JudgePrompt, score_key
from flames.scorers.registry import scorer_notes
from flames.taxonomy import Dimension, Taxonomy

NO_MAJORITY = "no majority"
NO_PROMPT = "no prompt"


@dataclass(frozen=True)
class Vote:
    """One vote and what it took.

    Args:
        answer: What was read; its reason may also be `blocked` or `error`.
        unscored: The reason why there is no score.
        asked: Everything that was asked for it, the reminder included.
        note: What the provider said of a block or failure.
    """

    answer: Answer
    unscored: str | None
    asked: tuple[ModelAnswer, ...]
    note: str | None = None


class JudgeScorer:
    """A language model that judges by the rubric.

    Args:
        asker: How the model is asked.
        prompt: What it is told.
        taxonomy: What it judges by.
        votes: How often it is asked about each response.
    """

    def __init__(
        self, asker: ModelAsker, prompt: JudgePrompt, taxonomy: Taxonomy, votes: int = 1
    ) -> None:
        self._asker = asker
        self._prompt = prompt
        self._taxonomy = taxonomy
        self._votes = votes
        self.name = asker.model.name
        self.version = judge_version(prompt, votes)
        self.window = 16 * asker.collector.limit.most
        name = f"judge:{self.name}@{self.version}"
        self.info = ScorerInfo(
            id=name,
            title=f"{asker.model.name} as the judge, by the rubric of each subcomponent",
            taxonomy=taxonomy.id,
            notes=scorer_notes(name),
            details={
                "model": asker.described,
                "prompt": prompt.version,
                "language": prompt.lang,
                "votes": votes,
                "sampling": asker.collector.sampling.to_dict(),
                "journal": str(asker.journal_path or "none"),
            },
            probabilities=votes > 1,
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict a response.

        Raises:
            OutsideError: The endpoint had to be given up or the budget is spent; answers so far
                are kept in the journal.
        """
        told = [bool((response.prompt or "").strip()) for response in responses]
        with self._asker:
            votes = iter(self._cast([r for r, known in zip(responses, told, strict=True) if known]))
        return [
            self._verdict(response, next(votes)) if known else self._blind(response)
            for response, known in zip(responses, told, strict=True)
        ]

    def _blind(self, response: Response) -> Verdict:
        """Nobody can judge an answer without knowing what was asked."""
        name = self._taxonomy.dimension(response.dimension or "").name
        return verdict_for(response, scorer=self.info.id, dimension=name, unscored=NO_PROMPT)

    def _cast(self, responses: Sequence[Response]) -> list[list[Vote]]:
        """All votes on each response, reminded ones included."""
        asked = [response for response in responses for _ in range(self._votes)]
        questions = [
            Question(
                tuple(self._prompt.messages(response, self._taxonomy)), vote, score_key(response)
            )
            for response in responses
            for vote in range(self._votes)
        ]
        cast = list(map(self._read, self._asker.ask(questions), asked))
        again = [n for n, vote in enumerate(cast) if vote.answer.unscored is not None]
        reminders = [self._reminded(questions[n], asked[n]) for n in again]
        for n, answer in zip(again, self._asker.ask(reminders), strict=True):
            second = self._read(answer, asked[n])
            cast[n] = replace(second, asked=(*cast[n].asked, *second.asked))
        return [cast[n : n + self._votes] for n in range(0, len(cast), self._votes)]

    def _reminded(self, question: Question, response: Response) -> Question:
        *before, last = question.messages
        dimension = self._taxonomy.dimension(response.dimension or "")
        reminder = self._prompt.filled_reminder(dimension, question.key)
        message = Message("user", f"{last.content}\n\n{reminder}")
        return replace(question, messages=(*before, message))

    def _read(self, reply: ModelAnswer, response: Response) -> Vote:
        if reply.status in ("blocked", "error"):
            return Vote(Answer(), reply.status, (reply,), reply.note)
        answer = parse_answer(
            reply.text,
            self._taxonomy.dimension(response.dimension or "").scale,
            score_key(response),
            material=f"{response.prompt}\n{response.response}",
            truncated=reply.status == "truncated",
        )
        return Vote(answer, answer.unscored, (reply,))

    def _verdict(self, response: Response, votes: Sequence[Vote]) -> Verdict:
        scores = [vote.answer.score for vote in votes if vote.answer.score is not None]
        score, reason = majority(scores, len(votes), (vote.unscored for vote in votes))
        said = next((v for v in votes if v.answer.score == score), votes[0])
        dimension = self._taxonomy.dimension(response.dimension or "")
        asked = [told for vote in votes for told in vote.asked]
        extra: dict[str, Any] = {"judging": answer_usage(asked, self._asker.prices)}
        if said.note and score is None:
            extra["note"] = said.note
        return verdict_for(
            response,
            scorer=self.info.id,
            dimension=dimension.name,
            score=score,
            unscored=reason,
            probabilities=shares(scores, dimension) if self._votes > 1 and scores else None,
            rationale=said.answer.rationale,
            **extra,
        )


def judge_version(prompt: JudgePrompt, votes: int) -> str:
    """What stands behind a judge's name: the prompt, and the number of votes if there are more."""
    return prompt.version + (f"x{votes}" if votes > 1 else "")


def majority(
    scores: Sequence[int], asked: int, reasons: Iterable[str | None]
) -> tuple[int | None, str | None]:
    """The score of more than half of all that were asked, or the reason why there is none.

    Votes without a score count as votes for nobody.
    """
    if scores:
        score, votes = Counter(scores).most_common(1)[0]
        return (score, None) if 2 * votes > asked else (None, NO_MAJORITY)
    counted = Counter(reason for reason in reasons if reason is not None)
    return None, counted.most_common(1)[0][0]


def shares(scores: Sequence[int], dimension: Dimension) -> dict[str, float]:
    """The share of the votes that each score of the scale has, best first."""
    return {str(score): scores.count(score) / len(scores) for score in dimension.scale}


def answer_forms(dimensions: Iterable[Dimension]) -> tuple[AnswerForm, ...]:
    """Returns the ways to ask for structured output: a JSON schema, a tool, the prompt alone.

    The schema allows every score of the taxonomy, for one form serves all dimensions. The scale
    of each is in its prompt, and the answer's reader holds the answer to it.
    """
    scores = sorted({score for dimension in dimensions for score in dimension.scale}, reverse=True)

    def schema(key: str) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "reason": {"type": "string"},
                key: {"type": "integer", "enum": scores},
            },
            "required": ["reason", key],
            "additionalProperties": False,
        }

    def response_format(key: str) -> dict[str, Any]:
        named = {"name": "verdict", "strict": True, "schema": schema(key)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def tool(key: str) -> dict[str, Any]:
        function = {
            "name": "verdict",
            "description": "The verdict on the response.",
            "parameters": schema(key),
        }
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": "verdict"}},
        }

    return AnswerForm("schema", response_format), AnswerForm("tool", tool), PLAIN
