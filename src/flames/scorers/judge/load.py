"""`judge:MODEL` and `judge:A+B+C`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flames.errors import UsageError
from flames.models.base import ChatModel, Sampling
from flames.scorers.asking import (
    PLAIN,
    AnswerForm,
    ModelAsker,
    journal_path,
    model_and_settings,
    number,
    one_of,
    text,
    whole,
)
from flames.scorers.base import Scorer, ScorerContext
from flames.scorers.judge.panel import PanelScorer
from flames.scorers.judge.prompt import load_judge_prompt
from flames.scorers.judge.scorer import JudgeScorer, answer_forms, judge_version

MAX_TOKENS = 2048  # room for the thoughts of reasoning models
VOTING_TEMPERATURE = 0.7
IN_PROCESS = ("python", "transformers")


def load(argument: str, context: ScorerContext) -> Scorer:
    """A judge, or a panel of them.

    Options, beside those of every scorer that asks a model: `lang` (zh or en), `prompt` (a
    prompt file), `votes`, `rule` (majority or mean, of a panel), `structured` (auto, schema,
    tool or plain).

    Args:
        argument: A model as the asking stage names it, or several with `+` between them.
        context: Taxonomy and options.

    Raises:
        UsageError: There is no such model, or an option is not what it should be.
        InputError: The prompt file cannot be used.
    """
    options = context.options
    names = [name.strip() for name in argument.split("+")]
    if not all(names):
        raise UsageError(f"judge:{argument} names no model; use judge:MODEL or judge:A+B")
    rule = one_of(options, "rule", ("majority", "mean"))
    judges = [_judge(name, context) for name in names]
    if len(judges) == 1:
        return judges[0]
    return PanelScorer(judges, context.taxonomy, rule)


def _judge(name: str, context: ScorerContext) -> JudgeScorer:
    model, settings = model_and_settings(name, context)
    return judge_with(model, context, settings=settings)


def judge_with(model: ChatModel, context: ScorerContext, **asking: Any) -> JudgeScorer:
    """A judge from a model that is there already (a Python callable, say).

    Args:
        model: Who judges.
        context: Taxonomy and options, as for `judge:MODEL`.
        asking: Passed on to the asker (`settings`).
    """
    options = context.options
    lang = one_of(options, "lang", ("zh", "en"))
    prompt = load_judge_prompt(text(options, "prompt"), lang)
    votes = whole(options, "votes", 1)
    sampling = Sampling(
        temperature=number(options, "temperature", VOTING_TEMPERATURE if votes > 1 else 0.0),
        max_tokens=int(number(options, "max_tokens", MAX_TOKENS)),
    )
    asker = ModelAsker(
        model,
        sampling=sampling,
        journal=journal_path(options, "judge", f"{model.name}@{judge_version(prompt, votes)}"),
        **asking,
    )
    asker.forms = _forms(asker.described, context)
    return JudgeScorer(asker, prompt, context.taxonomy, votes)


def _forms(described: Mapping[str, Any], context: ScorerContext) -> tuple[AnswerForm, ...]:
    chosen = one_of(context.options, "structured", ("auto", "schema", "tool", "plain"))
    if described.get("api") == "completions" or described.get("provider") in IN_PROCESS:
        return (PLAIN,)  # nothing there would look at the form
    forms = answer_forms(context.taxonomy.dimensions)
    return tuple(form for form in forms if chosen in ("auto", form.name))
