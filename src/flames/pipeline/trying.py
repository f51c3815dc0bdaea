"""Asking several models one prompt while it is being written: answers and scores side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from flames.collect.ask import Asking, prepare
from flames.collect.limits import Budget
from flames.collect.plan import Plan, SystemOption, make_plan, now
from flames.collect.settings import AskSettings
from flames.collect.together import HERE, Lane, Paces, ask_together, place_of
from flames.errors import OutsideError, UsageError
from flames.models.base import Sampling
from flames.models.load import ModelOptions
from flames.options import Opt, listed, text_or_file
from flames.prompts.addition import add_prompt, check_addition
from flames.prompts.sets import PromptSet
from flames.records import Key, Prompt, Response, Verdict, prompt_id
from flames.scorers.base import Scorer, score_stream
from flames.scorers.options import ScorerOptions, load_with
from flames.scorers.stance import with_stance
from flames.taxonomy import Taxonomy, TaxonomyOptions, load_taxonomy


@dataclass(frozen=True, kw_only=True)
class TryOptions(TaxonomyOptions, ScorerOptions):
    """The prompt, the models and scorers that it is tried with, and where it is kept."""

    text: Annotated[
        str,
        Opt(
            "The prompt.",
            metavar="TEXT|@FILE",
            positional=True,
            parse=partial(text_or_file, option="the prompt"),
        ),
    ]
    models: Annotated[
        tuple[str, ...], Opt("Models by any of their names.", metavar="MODEL", positional=True)
    ]
    dimension: Annotated[str, Opt("Dimension that it is scored on.", metavar="NAME")]
    subcomponent: Annotated[str | None, Opt("Its subcomponent.", metavar="NAME")] = None
    technique: Annotated[str | None, Opt("Its technique, like role_play.", metavar="NAME")] = None
    author: Annotated[str | None, Opt("Who wrote it.", metavar="NAME")] = None
    scorers: Annotated[
        tuple[str, ...],
        Opt("A scorer by name or path; may be repeated.", flag="--scorer", metavar="S"),
    ] = ("default",)
    system: SystemOption = None
    add: Annotated[
        Path | None,
        Opt("Add the prompt to this set, unless it has it or nearly has it.", metavar="FILE"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text.strip():
            raise UsageError("the prompt is empty")
        for what, given in (("model", self.models), ("scorer", self.scorers)):
            twice = next((name for n, name in enumerate(given) if name in given[:n]), None)
            if twice is not None:
                raise UsageError(f"the {what} {twice} is named twice")

    def prompt(self, taxonomy: Taxonomy) -> Prompt:
        """Returns the prompt as it stands in a set."""
        dimension = taxonomy.dimension(self.dimension)
        part = self.subcomponent and dimension.subcomponent(self.subcomponent).name
        more: dict[str, Any] = {} if self.author is None else {"author": self.author}
        return Prompt(
            id=prompt_id(self.text),
            dimension=dimension.name,
            subcomponent=part or None,
            technique=self.technique,
            text=self.text,
            created=now(),  # carried along, like the author
            **more,
        )


@dataclass(frozen=True)
class Answer:
    """What a model said to the prompt, and the scorers to that, by id.

    `why` says why there is no response: what stopped the asking.
    """

    model: str
    response: Response | None
    why: str | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """A prompt with its answers; `problems` says what kept a model or a scorer from working."""

    prompt: Prompt
    answers: list[Answer]
    scorers: list[str]
    problems: dict[str, str]
    added: Path | None = None

    def check(self) -> None:
        """Raises what went wrong with a model or a scorer."""
        if self.problems:
            raise OutsideError("; ".join(f"{name}: {why}" for name, why in self.problems.items()))

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        answers = [
            {
                "model": answer.model,
                "status": answer.response.status if answer.response else "not asked",
                "response": answer.response and answer.response.to_dict(),
                "why": answer.why,
                "verdicts": {name: v.to_dict() for name, v in answer.verdicts.items()},
            }
            for answer in self.answers
        ]
        added = None if self.added is None else str(self.added)
        return {"prompt": self.prompt.to_dict(), "answers": answers, "added": added}


def try_prompt(
    options: TryOptions,
    *,
    reach: ModelOptions | None = None,
    sampling: Sampling | None = None,
    settings: AskSettings | None = None,
) -> Tried:
    """Asks all models a prompt at once, scores what they say, and adds it to a set if wanted.

    Whether it can be added is checked before anything is asked. A model or scorer that fails stops
    no other, and the prompt is added all the same.
    """
    taxonomy = load_taxonomy(options.taxonomy)
    prompt = options.prompt(taxonomy)
    if options.add is not None:
        check_addition(options.add, prompt, taxonomy)
    settings = settings or AskSettings()
    budget = Budget(settings.max_requests, settings.max_cost)
    scorers = _scorers(options, taxonomy, budget)
    asked = PromptSet("try", "", (prompt,), Path("try.jsonl"))
    how: dict[str, Any] = {"system": options.system, "sampling": sampling, "options": reach}
    plans = [make_plan(name, asked, taxonomy=taxonomy, **how) for name in options.models]
    for n, plan in enumerate(plans):
        if any(plan.model.name == other.model.name for other in plans[:n]):
            raise UsageError(f"two of the models are called {plan.model.name}")
    answers = _ask(plans, settings, budget)
    problems = {each.model: each.why for each in answers if each.why is not None}
    answers, more = _score(answers, scorers)
    if options.add is not None:
        add_prompt(options.add, prompt, taxonomy)
    names = [scorer.info.id for scorer in scorers]
    return Tried(prompt, answers, names, {**problems, **more}, options.add)


def _scorers(options: TryOptions, taxonomy: Taxonomy, budget: Budget) -> list[Scorer]:
    given = None if options.taxonomy is None else taxonomy
    return [
        load_with(
            name,
            options.given(),
            given,
            beside=[other for other in options.scorers if other != name],
            budgets=(budget,),
        )
        for name in options.scorers
    ]


def _ask(plans: Sequence[Plan], settings: AskSettings, budget: Budget) -> list[Answer]:
    single = replace(settings, max_requests=None, max_cost=None)
    each = [single.under(getattr(plan.model, "terms", {})) for plan in plans]
    places = [place_of(plan.model) for plan in plans]
    _check_prices(plans, each, places, budget)
    paces = Paces((at, plan.model, own) for at, plan, own in zip(places, plans, each, strict=True))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flames-try-")))
        lanes = []
        for n, (plan, own, place) in enumerate(zip(plans, each, places, strict=True)):
            share = {"pace": paces.share(place), "budgets": (budget,)}
            asking = Asking(plan, prepare(plan, folder / str(n)), own, **share)
            lanes.append(Lane(plan.model.name, place, [stack.enter_context(asking)]))
        ask_together(lanes, lambda lane, asking, state: None)
        return [_answer(lane) for lane in lanes]


def _check_prices(
    plans: Iterable[Plan], settings: Sequence[AskSettings], places: Sequence[str], budget: Budget
) -> None:
    if budget.max_cost is None:
        return
    for plan, own, place in zip(plans, settings, places, strict=True):
        if own.prices is None and place != HERE:
            raise UsageError(
                f"--max-cost needs prices, and none is known for {plan.spec}: give --price-in and "
                "--price-out"
            )
    named = sorted({own.prices.currency for own in settings if own.prices and own.prices.currency})
    if len(named) > 1:
        raise UsageError(
            f"--max-cost adds up costs, but the prices are in {listed(named, 'and')}: give all in "
            "one currency (--price-in, --price-out)"
        )


def _answer(lane: Lane) -> Answer:
    response = next(iter(lane.runs[0].run.responses()), None)
    why = None if lane.stopped is None else str(lane.stopped)
    if response is not None and response.status == "error":
        why = why or response.error or "no reason given"
    return Answer(lane.name, response, why)


def _score(
    answers: Sequence[Answer], scorers: Iterable[Scorer]
) -> tuple[list[Answer], dict[str, str]]:
    responses = [answer.response for answer in answers if answer.response is not None]
    verdicts: dict[Key, dict[str, Verdict]] = {each.key: {} for each in responses}
    problems: dict[str, str] = {}
    for scorer in scorers:
        try:
            found = list(score_stream(scorer, responses))
        except OutsideError as error:
            problems[scorer.info.id] = str(error)
            continue
        for response, verdict in zip(responses, found, strict=True):
            verdicts[response.key][scorer.info.id] = with_stance(response, verdict)
    scored = [
        replace(answer, verdicts=verdicts[answer.response.key]) if answer.response else answer
        for answer in answers
    ]
    return scored, problems
