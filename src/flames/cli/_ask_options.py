"""The options that `flames ask` and `flames run` have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Concatenate, Optional, ParamSpec, get_type_hints

import typer

from flames.cli._options import (
    EncodingOption,
    LimitOption,
    MapOption,
    OutDir,
    PromptsOption,
    QuietOption,
    SeedOption,
    TaxonomyOption,
)

P = ParamSpec("P")


@dataclass(frozen=True)
class AskOptions:
    """Whom to ask what, and how: the options that `flames ask` and `flames run` have in common."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="preset/name (openai/…, deepseek/…, dashscope/…, zhipu/…, moonshot/…, …), any "
            "name with --base-url, local, gguf:PATH or hf:PATH.",
        ),
    ]
    prompts: PromptsOption = "open"
    out: OutDir = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that is there, if one is.")
    ] = False
    limit: LimitOption = None
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", min=1, help="Ask each prompt N times.")
    ] = 1
    seed: SeedOption = 0
    base_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint."),
    ] = None
    api_key_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help="Environment variable that holds the key; the preset's unless given.",
        ),
    ] = None
    header: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--header",
            metavar="NAME: VALUE",
            help="A further request header; its value is written nowhere. May be repeated.",
        ),
    ] = None
    system: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--system", metavar="TEXT|@FILE", help="The system prompt; none by default."),
    ] = None
    temperature: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--temperature", metavar="T", help="The provider's default unless given."),
    ] = None
    max_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--max-tokens", metavar="N", help="The longest answer, in tokens."),
    ] = None
    sampling_seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--sampling-seed", metavar="N", help="The provider's seed."),
    ] = None
    extra_body: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--extra-body", metavar="JSON|@FILE", help="Further fields of the request's body."
        ),
    ] = None
    frame: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--frame",
            metavar="NAME",
            help="chat, or qa: a question-and-answer text for base models, to be completed.",
        ),
    ] = None
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For one request in all.")
    ] = 180.0
    concurrency: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--concurrency",
            metavar="N",
            min=1,
            help="Requests at once at most; fewer where the endpoint asks for it.",
        ),
    ] = None
    retries: Annotated[
        int,
        typer.Option("--retries", metavar="N", min=0, help="Further attempts after a failure."),
    ] = 4
    max_requests: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--max-requests",
            metavar="N",
            min=1,
            help="The most requests of the whole run, retries and earlier sessions included.",
        ),
    ] = None
    max_cost: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--max-cost",
            metavar="MONEY",
            help="The most that the whole run may cost, earlier sessions included; needs prices.",
        ),
    ] = None
    price_in: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--price-in", metavar="MONEY", help="Price of a million input tokens."),
    ] = None
    price_out: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--price-out", metavar="MONEY", help="Price of a million output tokens."),
    ] = None
    taxonomy: TaxonomyOption = None
    mapping: MapOption = None
    encoding: EncodingOption = None
    quiet: QuietOption = False


def with_ask_options(
    command: Callable[Concatenate[AskOptions, P], None],
) -> Callable[..., None]:
    """Gives a command the options of `AskOptions` before its own; it takes them as one value."""

    def wrapper(**given: Any) -> None:
        shared = AskOptions(**{f.name: given.pop(f.name) for f in fields(AskOptions)})
        command(shared, **given)  # type: ignore[call-arg]

    hints = get_type_hints(AskOptions, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.name == "model" else field.default,
            annotation=hints[field.name],
        )
        for field in fields(AskOptions)
    ]
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper
