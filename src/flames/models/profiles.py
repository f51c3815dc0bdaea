"""Profiles: models under names of one's own, in a file of the user and one of the project.

`~/.config/flames/models.toml` holds a table for each name, `flames.toml` in the working folder
tables `[models.NAME]`, which come first.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationError

from flames.errors import InputError
from flames.models.addresses import is_address
from flames.records import Frozen

PROJECT_FILE = Path("flames.toml")
_NAME = re.compile(r"[\w][\w.-]*")
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
"""The ISO code of a currency, like CNY."""


class Profile(Frozen, extra="forbid", protected_namespaces=()):
    """How to reach one model, and what it costs.

    `model` is what its endpoint calls it (the profile's name by default); without a `base_url` it
    is any other name of a model, like `deepseek/deepseek-chat`.
    """

    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    frame: str | None = None
    stream: bool = False
    max_tokens_field: str | None = None
    price_in: Amount | None = None
    price_out: Amount | None = None
    currency: Currency | None = None
    rpm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tpm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file that it stands in."""
        return self._path

    @property
    def terms(self) -> Mapping[str, Any]:
        """Prices and limits, by the names of the settings that they complete."""
        given = self.model_dump(include={"price_in", "price_out", "currency", "rpm", "tpm"})
        if self.price_in is not None:
            given["price_source"] = str(self.path)
        return {name: value for name, value in given.items() if value is not None}


def user_file() -> Path:
    """Returns where the user's profiles are; there may be none."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "flames" / "models.toml"


def load_profiles() -> dict[str, Profile]:
    """Reads the profiles of the user and of the project, by name; the project's come first."""
    return {**_profiles(user_file()), **_profiles(PROJECT_FILE, "models")}


def find_profile(name: str) -> Profile | None:
    """Returns the profile of that name; the files are only read for what can be such a name."""
    return load_profiles().get(name) if _NAME.fullmatch(name) else None


def _profiles(path: Path, section: str | None = None) -> dict[str, Profile]:
    try:
        content: Any = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise InputError(f"is no TOML in UTF-8: {error}", path=path) from None
    tables = content if section is None else content.get(section, {})
    if not isinstance(tables, dict):
        raise InputError("must be a table of profiles", path=path, field=section)
    return {name: _profile(name, table, path, section) for name, table in tables.items()}


def _profile(name: str, table: Any, path: Path, section: str | None) -> Profile:
    place = name if section is None else f"{section}.{name}"
    if not _NAME.fullmatch(name) or name == "local":
        wrong = "is no name for a profile: use letters, digits, `.`, `_` and `-`"
        raise InputError(wrong, path=path, field=place)
    try:
        profile = Profile.model_validate(table)
    except ValidationError as error:
        raise InputError.invalid(error, "is no usable profile", path, place) from None
    if profile.base_url is None and profile.model is None:
        raise InputError("needs a base_url, or the model's name", path=path, field=place)
    if profile.base_url is not None and not is_address(profile.base_url):
        field = f"{place}.base_url"
        raise InputError("takes an address like https://host/v1", path=path, field=field)
    if (profile.price_in is None) != (profile.price_out is None):
        raise InputError("price_in and price_out go together", path=path, field=place)
    if profile.currency is not None and profile.price_in is None:
        raise InputError("currency goes with price_in and price_out", path=path, field=place)
    profile._path = path
    return profile
