"""What to ask of which model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from flames import __version__
from flames.errors import UsageError, notify
from flames.models.addresses import public_spec
from flames.models.base import ChatModel, Message, Sampling, messages_of
from flames.models.load import CallableModel, ModelOptions, load_model
from flames.options import Opt, SeedOptions, text_or_file
from flames.prompts.sets import PromptSet, SampleOptions, load_prompts
from flames.records import Prompt
from flames.storage.manifest import Manifest, without_secrets
from flames.storage.record_files import FileOptions
from flames.storage.run_dir import safe_name
from flames.taxonomy import Taxonomy, default_taxonomy, load_taxonomy

SystemOption = Annotated[
    str | None,
    Opt(
        "System prompt; none unless given.",
        metavar="TEXT|@FILE",
        parse=partial(text_or_file, option="--system"),
    ),
]
"""The type of the option --system."""


@dataclass(frozen=True)
class Plan:
    """The model and the prompts of a run; `spec` is the user's name for the model."""

    model: ChatModel
    prompts: PromptSet
    spec: str = ""
    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 1
    taxonomy: Taxonomy | None = None

    def manifest(self) -> Manifest:
        """Returns the manifest of a new run."""
        sampling = self.sampling.over(self.model.defaults)
        return Manifest(
            model=self.model.name,
            spec=public_spec(self.spec) or self.model.name,
            asked=self.model.describe(),
            prompt_set=self.prompts.info,
            prompts_sha256="",
            samples=self.samples,
            system_prompt=self.system,
            sampling=without_secrets(sampling.to_dict()),
            taxonomy=(self.taxonomy or default_taxonomy()).id,
            created=now(),
            code_version=__version__,
        )

    def messages(self, prompt: Prompt) -> tuple[Message, ...]:
        """Returns the messages for a prompt; its own system text goes before the run's."""
        return messages_of(prompt.asked, self.system)

    def default_folder(self) -> Path:
        """Returns `runs/<date>-<model>`."""
        return Path("runs") / f"{datetime.now():%Y-%m-%d}-{safe_name(self.model.name)}"


def now() -> str:
    """Returns the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class AskOptions(FileOptions, SampleOptions, SeedOptions):
    """What to ask of which model, and where the responses go: the arguments of `ask`."""

    model: Annotated[
        str,
        Opt(
            "provider/name (openai/…, deepseek/…, dashscope/…, zhipu/…, moonshot/…, …), any name "
            "with --base-url, local, gguf:PATH or hf:PATH.",
            metavar="MODEL",
            positional=True,
        ),
    ]
    prompts: Annotated[
        str, Opt("Prompt set by name, or a file of prompts.", metavar="SET|PATH")
    ] = "open"
    out: Annotated[
        Path | None, Opt("Run directory; named by date and model unless given.", metavar="DIR")
    ] = None
    resume: Annotated[bool, Opt("Continue the run that is there, if there is one.")] = False
    accept_changes: Annotated[
        bool, Opt("Continue a run even with settings that change its answers; it tells them.")
    ] = False
    repeats: Annotated[int, Opt("Ask each prompt N times.", metavar="N", min=1)] = 1
    system: SystemOption = None


def _check_single(model: CallableModel, prompts: PromptSet) -> None:
    long = [prompt.id for prompt in prompts.prompts if prompt.asked.context]
    if long:
        raise UsageError(
            f"{model.name} takes a prompt's text alone, and {len(long)} prompts of the set "
            f"{prompts.name} have earlier turns or a system text ({long[0]}): give it the "
            "messages, with CallableModel(function, messages=True)"
        )


def _tell_own_system(prompts: PromptSet, system: str | None) -> None:
    own = sum(bool(prompt.system) for prompt in prompts.prompts)
    if system and own:
        what = f"{own} of {len(prompts.prompts)} prompts have a system text of their own"
        notify(f"{what}, which is sent in the place of --system", prompts.path)


def make_plan(
    model: str | ChatModel | Callable[[str], Any],
    prompts: str | os.PathLike[str] | PromptSet = "open",
    *,
    limit: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    system: str | None = None,
    sampling: Sampling | None = None,
    options: ModelOptions | None = None,
    taxonomy: str | Path | Taxonomy | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> Plan:
    """Plans what to ask. The arguments are those of `ask`."""
    if taxonomy is not None and not isinstance(taxonomy, Taxonomy):
        taxonomy = load_taxonomy(taxonomy)
    if not isinstance(prompts, PromptSet):
        prompts = load_prompts(
            prompts, taxonomy=taxonomy, mapping=mapping, encoding=encoding, sheet=sheet
        )
    if limit is not None:
        prompts = prompts.sample(limit, seed)
    if isinstance(model, str):
        spec, asked = model, load_model(model, options)
    else:
        asked = model if isinstance(model, ChatModel) else CallableModel(model)
        spec = asked.name
        if isinstance(asked, CallableModel) and not asked.messages:
            _check_single(asked, prompts)
    _tell_own_system(prompts, system)
    return Plan(
        model=asked,
        prompts=prompts,
        spec=spec,
        system=system,
        sampling=sampling or Sampling(),
        samples=repeats,
        taxonomy=taxonomy,
    )
