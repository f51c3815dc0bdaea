"""Loads a model by its name, or makes one of a Python function."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from importlib.metadata import entry_points
from typing import Annotated, Any, TypeAlias

from flames.errors import InputError, UsageError
from flames.finish_reasons import status_of
from flames.models.addresses import (
    AZURE_VERSION,
    azure_url,
    is_address,
    is_azure,
    split_address,
)
from flames.models.base import (
    ChatModel,
    Message,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
    load_frame,
)
from flames.models.prices import find_price
from flames.models.profiles import Profile, find_profile
from flames.models.providers import PRESETS, PROVIDERS, Provider
from flames.options import Opt, wrong_value
from flames.text import utf8_safe
from flames.thinking import ThinkTags, read_tags, split_thinking

ENTRY_POINTS = "flames.models"


def parse_headers(texts: Iterable[str]) -> dict[str, str]:
    """Reads request headers of the form `NAME: VALUE`."""
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not (colon and name.strip() and text.isascii() and text.isprintable()):
            raise UsageError("--header takes NAME: VALUE in plain ASCII")
        headers[name.strip()] = value.strip()
    return headers


@dataclass(frozen=True)
class ModelOptions:
    """How to reach a model, and the `name` that its responses are recorded under.

    `say` receives lines for people (licence terms, what is being loaded).
    """

    base_url: Annotated[
        str | None,
        Opt("OpenAI-compatible endpoint; the model's name is sent to it as is.", metavar="URL"),
    ] = None
    api_key_env: Annotated[
        str | None,
        Opt("Environment variable that holds the key; the preset's by default.", metavar="NAME"),
    ] = None
    headers: Annotated[
        Mapping[str, str],
        Opt(
            "Further request header, never written anywhere. May be repeated.",
            flag="--header",
            metavar="NAME: VALUE",
            parse=parse_headers,
            repeat=True,
        ),
    ] = field(default_factory=dict)
    timeout: Annotated[float, Opt("Timeout of one request in all.", metavar="SECONDS")] = 180.0
    frame: Annotated[
        str | None,
        Opt("chat, or qa: a question-and-answer text that a base model completes.", metavar="NAME"),
    ] = None
    think_tags: ThinkTags = ()
    stream: Annotated[bool, Opt("Ask for streamed answers, for models that give no others.")] = (
        False
    )
    max_tokens_field: Annotated[
        str | None,
        Opt("Name that --max-tokens is sent under, like max_completion_tokens.", metavar="NAME"),
    ] = None
    name: str | None = None
    say: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise wrong_value("--timeout", "a number of seconds above 0", self.timeout)


Factory: TypeAlias = Callable[[str, ModelOptions], ChatModel]


def load_model(spec: str, options: ModelOptions | None = None) -> ChatModel:
    """Loads a model by name.

    That is `name@address`, any name with `options.base_url`, the name of a profile,
    `preset/name`, `local`, `gguf:PATH`, `hf:PATH`, or `prefix/name` where a package offers the
    prefix as an entry point `flames.models`.
    """
    options = options or ModelOptions()
    spec = spec.strip()
    if utf8_safe(spec) != spec:
        raise UsageError(f"the model's name {spec!r} is no text in UTF-8")
    named, address = split_address(spec)
    if address is not None or options.base_url is not None:
        url, what = (options.base_url, "--base-url") if address is None else (address, "NAME@URL")
        if not is_address(url or ""):
            raise wrong_value(what, "an address like https://host/v1", url)
        if not named:
            raise UsageError("the model needs a name")
        return _placed(named, replace(options, base_url=url))
    if (profile := find_profile(spec)) is not None:
        return _of_profile(spec, profile, options)
    if spec == "local" or spec.startswith("gguf:"):
        from flames.models.local import gguf_model, local_model

        return local_model(options) if spec == "local" else gguf_model(spec[5:], options)
    if spec.startswith("hf:"):
        from flames.models.hf import hf_model

        return hf_model(spec.removeprefix("hf:"), options)
    prefix, _, name = spec.partition("/")
    if name:
        if prefix in PRESETS:
            model = _client(name, options, prefix)
            if (price := find_price(prefix, name)) is not None:
                model.terms = price.terms  # type: ignore[attr-defined]
            return model
        for point in entry_points(group=ENTRY_POINTS, name=prefix):
            try:
                factory: Factory = point.load()
            except (ImportError, AttributeError) as error:
                what = f"the package of {prefix}/… is broken: {point.value}: {error}"
                raise UsageError(what) from error
            return factory(name, options)
    known = ", ".join(f"{preset}/…" for preset in PRESETS)
    raise UsageError(
        f"no preset or profile for the model {spec!r}: give its address (--base-url URL, or "
        f"{spec or 'NAME'}@http://localhost:8000/v1), or name it as one of {known}, local, "
        "gguf:PATH, hf:PATH, or a profile (flames models list)"
    )


def _of_profile(name: str, profile: Profile, options: ModelOptions) -> ChatModel:
    given = replace(
        options,
        base_url=profile.base_url,
        api_key_env=options.api_key_env or profile.api_key_env,
        headers={**profile.headers, **options.headers},
        timeout=profile.timeout or options.timeout,
        frame=options.frame or profile.frame,
        stream=options.stream or profile.stream,
        max_tokens_field=options.max_tokens_field or profile.max_tokens_field,
        name=options.name or name,
    )
    if profile.base_url is not None:
        model = _placed(profile.model or name, given)
    elif find_profile(other := profile.model or "") is not None:
        raise InputError(f"leads to another profile, {other}", path=profile.path, field=name)
    else:
        model = load_model(other, given)
    if profile.terms or profile.extra_body:
        model.defaults = Sampling(extra=profile.extra_body).over(model.defaults)  # type: ignore[misc]
        known = {} if profile.price_in is not None else getattr(model, "terms", {})
        model.terms = {**known, **profile.terms}  # type: ignore[attr-defined]
    return model


def _placed(spec: str, options: ModelOptions) -> ChatModel:
    if spec.startswith("azure/") and is_azure(options.base_url or ""):
        return _client(spec.removeprefix("azure/"), options, "azure")
    return _client(spec, options)


def _client(name: str, options: ModelOptions, provider: str = "") -> ChatModel:
    from flames.models.openai_client import OpenAIModel  # brings an HTTP client: 0.1 s

    preset = PRESETS.get(provider, PROVIDERS[""])
    variables = (options.api_key_env,) if options.api_key_env else preset.key_env
    variable, key = _key(variables)
    if variables and key is None and (options.api_key_env or not preset.key_optional):
        missing = f"{preset.title} needs a key" if provider else "the key is missing"
        cure = f"set the environment variable {' or '.join(variables)}"
        raise UsageError(f"{missing}: {cure} (or name another one with --api-key-env)")
    return OpenAIModel(
        name,
        _address_of(preset, name, options.base_url),
        api_key=key,
        name=options.name or name,
        provider=provider or None,
        headers=options.headers,
        timeout=options.timeout,
        frame=load_frame(options.frame),
        think_tags=read_tags(options.think_tags),
        stream=options.stream,
        max_tokens_field=options.max_tokens_field,
        key_from=variable,
    )


def _address_of(preset: Provider, name: str, given: str | None) -> str:
    url = given or (os.environ.get(preset.url_env, "").strip() if preset.url_env else "")
    if url and not is_address(url):
        raise wrong_value(preset.url_env, "an address like https://host/v1", url)
    if not (url or preset.base_url):
        raise UsageError(
            f"{preset.title} needs the address of your resource: set the environment variable "
            f"{preset.url_env}, or give --base-url"
        )
    if preset.version_env:
        versions = (os.environ.get(each, "").strip() for each in preset.version_env)
        return azure_url(url, name, next(filter(None, versions), AZURE_VERSION))
    return url or preset.base_url


def _key(variables: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Returns the first environment variable that holds a key, and the key."""
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            if not key.isascii() or any(char.isspace() for char in key):
                raise UsageError(f"{variable} holds no usable key (spaces or odd characters)")
            return variable, key
    return None, None


@dataclass(eq=False)
class CallableModel:
    """A Python callable that answers a prompt.

    It takes the prompt's text, or the list of messages where `messages` is set, and returns the
    answer's text, a `Reply`, or an awaitable of either. It is called in a thread.
    """

    function: Callable[..., Any]
    _: KW_ONLY
    name: str = ""
    messages: bool = False
    concurrency: int = 4
    defaults: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        default = getattr(self.function, "__name__", type(self.function).__name__)
        self.name = self.name or str(default)

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest by its name."""
        return {"model": self.name, "provider": "python"}

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Calls the function; an exception that is no `RequestError` becomes `RequestRejected`."""
        argument = list(messages) if self.messages else messages[-1].content
        try:
            answer = await asyncio.to_thread(self.function, argument)
            if inspect.isawaitable(answer):
                answer = await answer
        except RequestError:
            raise
        except Exception as error:
            raise RequestRejected(f"{type(error).__name__}: {error}") from error
        if isinstance(answer, Reply):
            return answer
        if not isinstance(answer, str):
            raise RequestRejected(f"{self.name} returned {type(answer).__name__}, not text")
        text, reasoning, unclosed = split_thinking(answer)
        status = status_of(None, text, thought=bool(reasoning), unclosed=unclosed)
        return Reply(status, text=text, reasoning=reasoning or None)

    async def aclose(self) -> None:
        """Does nothing."""
