"""Asking from Python in one call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flames.collect._ask import Asking, Plan, Progress, prepare
from flames.collect._engine import Settings
from flames.models import CallableModel, ChatModel, ModelOptions, Sampling, load_model
from flames.prompts import PromptSet, load_prompts
from flames.run import RunDir
from flames.taxonomy import Taxonomy


def ask(
    model: str | ChatModel | Callable[[str], Any],
    prompts: str | os.PathLike[str] | PromptSet = "open",
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    limit: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    system: str | None = None,
    sampling: Sampling | None = None,
    options: ModelOptions | None = None,
    settings: Settings | None = None,
    taxonomy: Taxonomy | None = None,
    progress: Progress | None = None,
) -> RunDir:
    """Asks a model every prompt of a set, into a run directory.

    Args:
        model: What the command line calls MODEL, a `ChatModel`, or a function from a prompt's
            text to an answer's (plain or asynchronous).
        prompts: A set by name, a file, or a loaded set.
        out: The run directory; made up from date and model unless given.
        resume: Go on with the run that is there, if one is.
        limit: Ask a seeded sample of so many prompts, balanced over subcomponents.
        repeats: Ask each prompt so often.
        seed: Of the sample.
        system: The system prompt.
        sampling: How answers are drawn.
        options: How the model is reached, where it is given by name.
        settings: Concurrency, retries, budget.
        taxonomy: What the prompts are read with; Flames' own unless given.
        progress: Told after each response.

    Returns:
        The run; `run.manifest.counts` tells how the responses ended.

    Raises:
        InputError: The prompts cannot be read.
        UsageError: The model or the run directory cannot be used.
        OutsideError: Asking had to stop; the run holds what was done so far.
    """
    if isinstance(model, str):
        spec, asked = model, load_model(model, options)
    else:
        asked = model if isinstance(model, ChatModel) else CallableModel(model)
        spec = asked.name
    if not isinstance(prompts, PromptSet):
        prompts = load_prompts(prompts, taxonomy=taxonomy)
    if limit is not None:
        prompts = prompts.sample(limit, seed)
    plan = Plan(
        model=asked,
        prompts=prompts,
        spec=spec,
        system=system,
        sampling=sampling or Sampling(),
        samples=repeats,
        taxonomy=taxonomy,
    )
    run = prepare(plan, out, resume=resume)
    with Asking(plan, run, settings) as asking:
        asking.ask(progress)
    return run
