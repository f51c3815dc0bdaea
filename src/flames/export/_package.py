"""What an exported scorer's folder says of itself, under `export` in its `config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flames.checksums import file_sha256
from flames.errors import InputError
from flames.scorers.classifier.settings import CONFIG

SECTION = "export"
_FILE_OF = {"fp32": "fp32", "bf16": "fp32", "int8": "int8"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class File(_Frozen):
    """A model's file, and the one beside it that holds large weights.

    Args:
        name: Its name in the folder.
        sha256: Its checksum.
        data: Name and checksum of the file of its weights, where they stand apart.
    """

    name: str
    sha256: str
    data: tuple[str, str] | None = None


class Check(_Frozen):
    """How one way of computing compares with the original's logits.

    Args:
        backend: What computed.
        precision: `fp32`, `bf16` or `int8`.
        n: How many responses it was compared on.
        changed: How many of them got another label.
        max_difference: The largest difference of a logit.
    """

    backend: str
    precision: str
    n: int
    changed: int
    max_difference: float

    @property
    def agreement(self) -> float:
        """Per cent of the labels that stayed as they were."""
        return 100 * (self.n - self.changed) / self.n


class Package(_Frozen):
    """An exported scorer.

    Args:
        files: The models, by the precision of their weights.
        checks: What was compared at export.
        used: The precisions that may be used unasked: none of their checks changed more than
            one label in a hundred.
        checked_on: What the checks were made on: file name → checksum.
        calibrated_on: What int8 was calibrated on, in words.
        vocabulary: How many tokens its embedding has rows for.
        versions: Of the libraries that made it.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    files: dict[str, File]
    checks: tuple[Check, ...] = ()
    used: tuple[str, ...] = ()
    checked_on: dict[str, str] = Field(default_factory=dict)
    calibrated_on: str | None = None
    vocabulary: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """What can be computed, fastest first."""
        return tuple(each for each in ("int8", "bf16", "fp32") if _FILE_OF[each] in self.files)

    def doubt(self, precision: str) -> str | None:
        """What a reader of numbers in that precision must know, where it changed labels."""
        checks = [check for check in self.checks if check.precision == precision]
        if not checks or precision in self.used:
            return None
        worst = min(checks, key=lambda check: check.agreement)
        return (
            f"computed in {precision}, which gave {worst.changed} of {worst.n} responses another "
            "label than the original scorer"
        )

    def weights(self, precision: str) -> str:
        """The checksum of what is computed with."""
        file = self.files[_FILE_OF[precision]]
        return file.sha256 + (file.data[1] if file.data else "")

    def model(self, folder: Path, precision: str) -> Path:
        """The file for a precision, its checksum compared.

        Raises:
            InputError: It is not there, or damaged.
        """
        file = self.files.get(_FILE_OF[precision])
        if file is None:
            can = ", ".join(self.precisions)
            raise InputError(f"was not exported as {precision}, only as {can}", path=folder)
        pairs = [(file.name, file.sha256), *([file.data] if file.data else [])]
        for name, sha256 in pairs:
            path = folder / name
            if path.parent != folder or not path.is_file():
                raise InputError(f"is no complete export: it holds no {name}", path=folder)
            if file_sha256(path) != sha256:
                message = "is damaged (its checksum is not the export's); export again"
                raise InputError(message, path=path)
        return folder / file.name


def read_package(folder: str | Path) -> Package | None:
    """What a scorer's folder says of its export; None where it is none.

    Raises:
        InputError: It says something that cannot be used.
    """
    path = Path(folder) / CONFIG
    try:
        config: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # told by `read_settings`
    found = config.get(SECTION) if isinstance(config, dict) else None
    if found is None:
        return None
    try:
        return Package.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join([SECTION, *(str(part) for part in first["loc"])])
        raise InputError(f"is broken: {first['msg']}", path=path, field=field) from None
