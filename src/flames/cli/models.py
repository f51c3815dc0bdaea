"""`flames models`: the names that models have here, whether one answers, what they cost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flames.cli._console import JsonOptions, present
from flames.cli._console import say as say_line
from flames.models.addresses import public_url
from flames.models.load import ModelOptions
from flames.models.prices import load_prices, prices_file, replace_prices
from flames.models.profiles import load_profiles, user_file
from flames.models.providers import PRESETS
from flames.options import LangOptions, Opt
from flames.reports.models import models_table, ping_lines, prices_document
from flames.reports.tables import line
from flames.reports.words import say
from flames.scorers.ping import ping as ping_model


def list_models(language: LangOptions, output: JsonOptions) -> None:
    """List the names that models may have: profiles, providers, and models on this machine."""
    rows: list[dict[str, Any]] = [
        _row(
            name,
            file=str(profile.path),
            address=public_url(profile.base_url) if profile.base_url else None,
            model=profile.model or name,
            key_env=(profile.api_key_env,) if profile.api_key_env else (),
        )
        for name, profile in load_profiles().items()
    ]
    rows += [
        _row(
            f"{name}/…",
            title=preset.title,
            address=preset.base_url or f"${preset.url_env}",
            key_env=preset.key_env,
            optional=preset.key_optional,
        )
        for name, preset in PRESETS.items()
    ]
    forms = {"NAME@URL": "address", "local": "local", "gguf:PATH": "gguf", "hf:PATH": "hf"}
    rows += [
        _row(name, title=say(f"models.kind.{kind}")(language.lang)) for name, kind in forms.items()
    ]
    hint = line(say("models.hint", file=str(user_file())), kind="soft")
    present(output, rows, [models_table(rows), hint], language.lang)


def ping(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model by any of its names.")],
    reach: ModelOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Ask a model one question: whether it answers, how fast, and what it supports."""
    found = ping_model(model, reach)
    present(output, found.to_dict(), ping_lines(found), language.lang)


@dataclass(frozen=True)
class PriceOptions:
    """Where a table of prices comes from."""

    source: Annotated[
        Path | None, Opt("Table of prices to use from now on.", flag="--from", metavar="FILE")
    ] = None


def prices(table: PriceOptions, language: LangOptions, output: JsonOptions) -> None:
    """List the known prices of models with date and source, or replace them by a table of your own.

    Prices given by hand (--price-in, --price-out) and those of a profile come before the table's.
    """
    if table.source is not None:
        say_line(str(replace_prices(table.source)))
    known, own = load_prices(), prices_file()
    path = own if own.is_file() else None
    data = {"file": path and str(path), "prices": [price.to_dict() for price in known]}
    present(output, data, prices_document(known, path), language.lang)


def _row(
    name: str, *, optional: bool = False, key_env: tuple[str, ...] = (), **row: Any
) -> dict[str, Any]:
    given = any(os.environ.get(each, "").strip() for each in key_env)
    key = ("set" if given else "optional" if optional else "missing") if key_env else None
    empty = dict.fromkeys(("title", "file", "address", "model"))
    return {"name": name, **empty, **row, "key_env": list(key_env), "key": key}
