"""The options of scorers that ask a model, as a scorer's context holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flames.collect import Prices, Settings
from flames.errors import UsageError
from flames.home import home
from flames.models import ChatModel, ModelOptions, load_model
from flames.run import safe_name
from flames.scorers.base import ScorerContext


def model_and_settings(spec: str, context: ScorerContext) -> tuple[ChatModel, Settings]:
    """The model that a scorer asks, and how hard to try, from the context's options.

    Raises:
        UsageError: There is no such model, or an option is not what it should be.
    """
    options = context.options
    said: dict[str, Any] = {n: text(options, n) for n in ("base_url", "api_key_env", "frame")}
    if "timeout" in options:
        said["timeout"] = number(options, "timeout", 0.0)
    prices = None
    if "price_in" in options or "price_out" in options:
        prices = Prices(number(options, "price_in", 0.0), number(options, "price_out", 0.0))
    limits: dict[str, Any] = {
        name: whole(options, name, least)
        for name, least in (("concurrency", 1), ("retries", 0), ("max_requests", 1))
        if name in options
    }
    if "max_cost" in options:
        limits["max_cost"] = number(options, "max_cost", 0.0)
    return load_model(spec, ModelOptions(**said)), Settings(prices=prices, **limits)


def text(options: Mapping[str, Any], name: str) -> str | None:
    """An option that is text, or None where it is not given.

    Raises:
        UsageError: It is something else.
    """
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"the scorer option {name} must be text, not {value!r}")
    return value


def whole(options: Mapping[str, Any], name: str, least: int) -> int:
    """An option that is a whole number, `least` unless given.

    Raises:
        UsageError: It is none, or too small.
    """
    value = options.get(name, least)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(
            f"the scorer option {name} must be a whole number of at least {least}, not {value!r}"
        )
    return value


def number(options: Mapping[str, Any], name: str, default: float) -> float:
    """An option that is a number of at least 0.

    Raises:
        UsageError: It is none.
    """
    value = options.get(name, default)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if not usable or not 0 <= value < float("inf"):
        raise UsageError(f"the scorer option {name} must be a number of at least 0, not {value!r}")
    return float(value)


def one_of(options: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> Any:
    """An option that is one of a few words, the first unless given.

    Raises:
        UsageError: It is none of them.
    """
    value = options.get(name, choices[0])
    if value not in choices:
        raise UsageError(f"the scorer option {name} is {' or '.join(choices)}, not {value!r}")
    return value


def journal_path(options: Mapping[str, Any], folder: str, scorer_id: str) -> Path | None:
    """Where a scorer keeps its answers: `journal=PATH`, nowhere (`none`), or Flames' own folder."""
    chosen = options.get("journal")
    if chosen in ("none", False):
        return None
    return Path(str(chosen)) if chosen else home() / folder / f"{safe_name(scorer_id)}.jsonl"
