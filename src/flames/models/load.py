"""From what a user calls a model to something that can be asked."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from flames.errors import UsageError
from flames.models.base import ChatModel
from flames.models.frames import load_frame
from flames.models.openai_client import OpenAIModel
from flames.models.providers import PRESETS
from flames.options import Opt
from flames.text import utf8_safe

ENTRY_POINTS = "flames.models"


def parse_headers(texts: Iterable[str]) -> dict[str, str]:
    """Reads request headers of the form `NAME: VALUE`.

    Raises:
        UsageError: A header has another form; its value is not repeated.
    """
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not (colon and name.strip() and text.isascii() and text.isprintable()):
            raise UsageError("--header takes NAME: VALUE in plain ASCII")
        headers[name.strip()] = value.strip()
    return headers


@dataclass(frozen=True)
class ModelOptions:
    """How a model is reached.

    Args:
        name: The name that responses are recorded under.
        say: Receives a line for people (licence terms, what is being loaded).
    """

    base_url: Annotated[
        str | None,
        Opt("OpenAI-compatible endpoint; the model's name is sent to it as is.", metavar="URL"),
    ] = None
    api_key_env: Annotated[
        str | None,
        Opt("Environment variable that holds the key; the preset's unless given.", metavar="NAME"),
    ] = None
    headers: Annotated[
        Mapping[str, str],
        Opt(
            "Further request header; its value is never written anywhere. May be repeated.",
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
    name: str | None = None
    say: Callable[[str], None] = lambda line: None


Factory: TypeAlias = Callable[[str, ModelOptions], ChatModel]


def load_model(spec: str, options: ModelOptions | None = None) -> ChatModel:
    """The model of that name.

    Args:
        spec: `preset/name`, any name with `options.base_url`, `local`, `gguf:PATH`, `hf:PATH`,
            or `prefix/name` where a package offers the prefix as an entry point `flames.models`.
        options: How to reach it.

    Raises:
        UsageError: There is no such preset, no key, or an optional part is missing.
    """
    options = options or ModelOptions()
    if not (math.isfinite(options.timeout) and options.timeout > 0):
        raise UsageError(f"the timeout must be a number of seconds above 0, not {options.timeout}")
    spec = spec.strip()
    if utf8_safe(spec) != spec:
        raise UsageError(f"the model's name {spec!r} is no text in UTF-8")
    if options.base_url is not None:
        return _elsewhere(spec, options.base_url, options)
    if spec == "local":
        from flames.models.local import local_model

        return local_model(options)
    if spec.startswith("gguf:"):
        from flames.models.local import gguf_model

        return gguf_model(spec.removeprefix("gguf:"), options)
    if spec.startswith("hf:"):
        from flames.models.hf import hf_model

        return hf_model(spec.removeprefix("hf:"), options)
    prefix, slash, name = spec.partition("/")
    if slash and name:
        if prefix in PRESETS:
            return _preset(prefix, name, options)
        for point in entry_points(group=ENTRY_POINTS, name=prefix):
            try:
                factory: Factory = point.load()
            except (ImportError, AttributeError) as error:
                raise UsageError(
                    f"the package of {prefix}/… is broken: {point.value}: {error}"
                ) from error
            return factory(name, options)
    known = ", ".join(f"{preset}/…" for preset in PRESETS)
    raise UsageError(
        f"no preset for the model {spec!r}: give --base-url URL, or name it as one of {known}, "
        "local, gguf:PATH, hf:PATH"
    )


def _preset(prefix: str, name: str, options: ModelOptions) -> ChatModel:
    preset = PRESETS[prefix]
    variables = (options.api_key_env,) if options.api_key_env else preset.key_env
    required = bool(options.api_key_env) or not preset.key_optional
    found, key = _key(variables, f"{preset.title} needs a key" if required else None)
    return OpenAIModel(
        name,
        preset.base_url,
        api_key=key,
        name=options.name,
        provider=prefix,
        headers=options.headers,
        timeout=options.timeout,
        max_tokens_field=preset.max_tokens_field,
        frame=load_frame(options.frame),
        key_from=found,
    )


def _elsewhere(name: str, base_url: str, options: ModelOptions) -> ChatModel:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"--base-url must be an address like https://host/v1, not {base_url!r}")
    if not name:
        raise UsageError("the model needs a name")
    variables = (options.api_key_env,) if options.api_key_env else ()
    found, key = _key(variables, "the key is missing" if variables else None)
    return OpenAIModel(
        name,
        base_url,
        api_key=key,
        name=options.name,
        headers=options.headers,
        timeout=options.timeout,
        frame=load_frame(options.frame),
        key_from=found,
    )


def _key(variables: tuple[str, ...], without: str | None) -> tuple[str | None, str | None]:
    """The first variable that holds a key, and the key."""
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            if not key.isascii() or any(char.isspace() for char in key):
                raise UsageError(f"{variable} holds no usable key (spaces or odd characters)")
            return variable, key
    if without and variables:
        names = " or ".join(variables)
        raise UsageError(
            f"{without}: set the environment variable {names} (or name another one with "
            "--api-key-env)"
        )
    return None, None
