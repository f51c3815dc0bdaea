"""The protocol of scorers, which turn responses into verdicts, and what describes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar, runtime_checkable

from flames.collect.limits import Budget
from flames.collect.settings import AskSettings
from flames.errors import UsageError
from flames.metrics.result import Note
from flames.models.base import ChatModel
from flames.options import Opt, read_options
from flames.records import NOT_READ, Prompt, Response, Verdict, verdict_for
from flames.taxonomy import Taxonomy, default_taxonomy

if TYPE_CHECKING:
    from flames.collect.pace_share import PaceShare

BEFORE_PROMPT = frozenset({"history", "system"})
"""The fields of a prompt that hold what comes before its last turn."""


@dataclass(frozen=True)
class TrainingLabels:
    """Labels that a scorer (id) was trained on: SHA-256 of the files, and the models in them."""

    scorer: str
    files: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class ScorerInfo:
    """The description of a scorer, as `flames scorer info` and the reports show it.

    `id` is `name@version`, `learnt` the labels that it or a part of it was trained on, where known;
    `probabilities` is False if its verdicts never have any. `reads` names what it reads of what
    comes before a prompt (`BEFORE_PROMPT`); a scorer that reads the last turn alone has none.
    """

    id: str
    title: str
    taxonomy: str
    notes: tuple[Note, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    learnt: tuple[TrainingLabels, ...] = ()
    probabilities: bool = True
    reads: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(map(Note.read, self.notes)))


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores responses: a classifier, a judge, a guard, people's labels."""

    @property
    def info(self) -> ScorerInfo:
        """The description of the scorer."""

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Scores responses that have a prompt and a dimension: one verdict each, in order.

        A response that cannot be scored is unscored with a reason, never guessed.
        """


def majority(scores: Sequence[int], votes: int | None = None) -> int | None:
    """Returns the score of more than half of the votes (as many as scores unless given), if any."""
    for score, count in Counter(scores).most_common(1):
        if 2 * count > (votes or len(scores)):
            return score
    return None


Truncated = Literal["scored", "unscored"]
IgnoreSelftest = Annotated[bool | None, Opt("Use a trained scorer even if its self-test failed.")]
InputTruncation = Annotated[
    Literal["middle", "official"] | None,
    Opt("Cut long input in the middle of the response, or at the end like the released script."),
]


@dataclass(frozen=True)
class CommonOptions:
    """Options that every scorer takes, since one that it is made of may need them."""

    ignore_selftest: IgnoreSelftest = None
    selftest: Annotated[str | None, Opt("File of pairs for the self-test, or `off`.")] = None


Options = TypeVar("Options")


@dataclass(frozen=True)
class ScorerContext:
    """What a scorer is made from: taxonomy, known prompts by id, options by name (`votes`, …).

    `budgets` are those that its requests count for beside its own, `pace` gives a model that others
    ask as well its share of their pace.
    """

    taxonomy: Taxonomy = field(default_factory=default_taxonomy)
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    pace: Callable[[ChatModel, AskSettings], PaceShare] | None = None

    def of_part(self, name: str, names: Collection[str]) -> ScorerContext:
        """Returns the context of one of several models: `option@NAME` goes before `option`."""
        split = {key: key.partition("@") for key in self.options}
        for key, (_, at, who) in split.items():
            if at and who not in names:
                raise UsageError(f"the scorer option {key} is for none of {', '.join(names)}")
        shared = {key: self.options[key] for key, (_, at, _who) in split.items() if not at}
        own = {option: self.options[key] for key, (option, _, who) in split.items() if who == name}
        return replace(self, options={**shared, **own})

    def read(self, options: type[Options]) -> Options:
        """Builds an instance of an options class from the options that it declares."""
        return read_options(options, self.options, "the scorer option {}")


def batches(responses: Iterable[Response], scorer: object) -> Iterator[list[Response]]:
    """Yields responses in batches of the scorer's own size, its `window`."""
    size = getattr(scorer, "window", 256)
    stream = iter(responses)
    while batch := list(islice(stream, size)):
        yield batch


def score_stream(
    scorer: Scorer, responses: Iterable[Response], *, truncated: bool = True
) -> Iterator[Verdict]:
    """Scores a stream of responses in bounded memory, one verdict each, in order.

    Responses without text never reach the scorer: they are unscored, with their status as the
    reason. A scorer that does not give one verdict per response, in order and in its name, is a
    UsageError. Verdicts say what the scorer did not read (`not_read`).
    """
    for batch in batches(responses, scorer):
        reasons: list[str | None] = []
        for response in batch:
            able = response.scorable and (truncated or response.status != "truncated")
            status = "empty" if response.status == "ok" else response.status
            reasons.append(None if able else status)
        verdicts = score_where(batch, reasons, scorer.info.id, partial(_checked, scorer))
        yield from map(partial(_told, scorer.info.reads), batch, verdicts)


def _told(reads: frozenset[str], response: Response, verdict: Verdict) -> Verdict:
    missed = [n for n in sorted(BEFORE_PROMPT - reads) if getattr(response, n)]
    if not missed or verdict.score is None:
        return verdict
    return verdict.model_copy(update={NOT_READ: missed})


def score_where(
    responses: Sequence[Response],
    reasons: Sequence[str | None],
    scorer_id: str,
    score: Callable[[list[Response]], Iterable[Verdict]],
) -> list[Verdict]:
    """Returns one verdict per response, in order; a response with a reason is unscored.

    `score` gets all the others at once, if there are any.
    """
    paired = list(zip(responses, reasons, strict=True))
    able = [response for response, reason in paired if reason is None]
    verdicts = iter(score(able) if able else ())
    return [
        next(verdicts) if reason is None else verdict_for(r, scorer=scorer_id, unscored=reason)
        for r, reason in paired
    ]


def _checked(scorer: Scorer, responses: Sequence[Response]) -> list[Verdict]:
    name, verdicts = scorer.info.id, scorer.score(responses)
    if len(verdicts) != len(responses):
        raise UsageError(
            f"the scorer {name} gave {len(verdicts)} verdicts on {len(responses)} responses"
        )
    for response, verdict in zip(responses, verdicts, strict=True):
        if verdict.key != response.key:
            raise UsageError(f"the scorer {name} gives its verdicts in another order")
        if verdict.dimension != response.dimension:
            raise UsageError(
                f"the scorer {name} judged {verdict.dimension!r} where "
                f"{response.dimension!r} was asked for"
            )
        if verdict.scorer != name:
            raise UsageError(f"the scorer {name} calls itself {verdict.scorer!r} in its verdicts")
    return verdicts
