"""`judge:MODEL` and `judge:A+B+C`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from flames.errors import UsageError
from flames.models.base import ChatModel, Sampling
from flames.options import Opt
from flames.scorers.asking import PLAIN, AnswerForm, open_asker, open_model
from flames.scorers.base import Scorer, ScorerContext
from flames.scorers.judge.panel import PanelScorer, Rule
from flames.scorers.judge.prompt import load_judge_prompt
from flames.scorers.judge.scorer import JudgeScorer, answer_forms, judge_version
from flames.taxonomy import Language, Taxonomy

MAX_TOKENS = 2048  # room for the thoughts of reasoning models
VOTING_TEMPERATURE = 0.7
IN_PROCESS = ("python", "transformers")


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


def load(argument: str, context: ScorerContext) -> Scorer:
    """Loads a judge, or a panel of them.

    Args:
        argument: A model as for asking, or several with `+` between them.
        context: Taxonomy and options (`JudgeOptions`).

    Raises:
        UsageError: There is no such model, or an option is wrong.
        InputError: The prompt file cannot be used.
    """
    options = context.read(JudgeOptions)
    names = [name.strip() for name in argument.split("+")]
    if not all(names):
        raise UsageError(f"judge:{argument} names no model; use judge:MODEL or judge:A+B")
    judges = [judge_with(open_model(name, context), context) for name in names]
    return judges[0] if len(judges) == 1 else PanelScorer(judges, context.taxonomy, options.rule)


def judge_with(model: ChatModel, context: ScorerContext) -> JudgeScorer:
    """Makes a judge of a model that is there already (a Python callable, say).

    Args:
        model: The model that judges.
        context: Taxonomy and options, as for `judge:MODEL`.
    """
    options = context.read(JudgeOptions)
    prompt = load_judge_prompt(options.prompt, options.lang)
    name = f"{model.name}@{judge_version(prompt, options.votes)}"
    defaults = Sampling(VOTING_TEMPERATURE if options.votes > 1 else 0.0, MAX_TOKENS)
    asker = open_asker(model, context, defaults, "judge", name)
    asker.forms = _forms(asker.described, context.taxonomy, options.structured)
    return JudgeScorer(asker, prompt, context.taxonomy, options.votes)


def _forms(described: Mapping[str, Any], taxonomy: Taxonomy, chosen: str) -> tuple[AnswerForm, ...]:
    if described.get("api") == "completions" or described.get("provider") in IN_PROCESS:
        return (PLAIN,)  # nothing there would look at the form
    forms = answer_forms(taxonomy.dimensions)
    return tuple(form for form in forms if chosen in ("auto", form.name))
