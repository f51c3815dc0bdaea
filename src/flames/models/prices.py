"""What models cost: a table that comes with Flames, or the user's own in its place."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from flames.errors import InputError
from flames.models.profiles import Amount, Currency, user_file
from flames.models.providers import PRESETS
from flames.records import Frozen
from flames.storage.atomic import write_atomic

_BUNDLED = "prices.toml"
_Words = Annotated[str, Field(min_length=1)]


class Price(Frozen, extra="forbid", populate_by_name=True, protected_namespaces=()):
    """What a million tokens of one model cost, and where that stands.

    `batch` is the share of the price that is charged in a batch. `date` is the day that the source
    names, or on which it was read.
    """

    provider: _Words
    model: _Words
    currency: Currency
    price_in: Annotated[Amount, Field(alias="in")]
    price_out: Annotated[Amount, Field(alias="out")]
    batch: Annotated[float, Field(gt=0, le=1)] | None = None
    batch_source: str | None = None
    date: date
    source: _Words
    note: str | None = None

    @property
    def name(self) -> str:
        """The model's name, with its provider: `deepseek/deepseek-flash`."""
        return f"{self.provider}/{self.model}"

    @property
    def terms(self) -> Mapping[str, Any]:
        """The prices by the names of the settings that they complete."""
        return {
            "price_in": self.price_in,
            "price_out": self.price_out,
            "currency": self.currency,
            "price_source": f"{self.date}, {self.source}" + (f", {self.note}" if self.note else ""),
            **({} if self.batch is None else {"batch_factor": self.batch}),
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the price as the table's file has it."""
        return {"name": self.name, **self.model_dump(by_alias=True, mode="json")}


def prices_file() -> Path:
    """Returns where the user's own table is; there may be none."""
    return user_file().with_name(_BUNDLED)


def load_prices() -> list[Price]:
    """Reads the user's table where there is one, else the one that comes with Flames."""
    path = prices_file()
    if path.is_file():
        return read_prices(path)
    bundled = resources.files("flames").joinpath("data", _BUNDLED)
    return _parsed(bundled.read_bytes(), bundled.name)


def find_price(provider: str, model: str) -> Price | None:
    """Returns the price of a preset's model; None if it is not known."""
    wanted = (provider, model.casefold())
    found = (each for each in load_prices() if (each.provider, each.model.casefold()) == wanted)
    return next(found, None)


def read_prices(path: str | os.PathLike[str]) -> list[Price]:
    """Reads a table of prices, `[[prices]]` in TOML, and checks every entry."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    return _parsed(content, path)


def replace_prices(path: str | os.PathLike[str]) -> Path:
    """Puts a table in the place of the one that comes with Flames, once it is found right."""
    read_prices(path)
    return write_atomic(prices_file(), Path(path).read_bytes())


def _parsed(content: bytes, path: str | os.PathLike[str]) -> list[Price]:
    try:
        table: Any = tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as error:  # of TOML, or of UTF-8
        raise InputError(f"is no TOML in UTF-8: {error}", path=path) from None
    entries = table.pop("prices", None)
    if table or not isinstance(entries, list):
        wrong = f"unknown key `{next(iter(table))}`; " if table else ""
        raise InputError(f"{wrong}a table of prices is a list of [[prices]]", path=path)
    prices: dict[str, Price] = {}
    for number, entry in enumerate(entries, start=1):
        field = f"prices.{number}"
        try:
            price = Price.model_validate(entry)
        except ValidationError as error:
            raise InputError.invalid(error, "is no usable price", path, field) from None
        if price.provider not in PRESETS:
            known = ", ".join(PRESETS)
            what = (
                f"unknown provider {price.provider!r}; one of: {known} (others go into a profile)"
            )
            raise InputError(what, path=path, field=f"{field}.provider")
        if price.name.casefold() in prices:
            raise InputError(f"{price.name} is there twice", path=path, field=field)
        prices[price.name.casefold()] = price
    return list(prices.values())
