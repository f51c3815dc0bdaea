"""What the folder of an exported scorer says about it, under `export` in its `config.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from flames.errors import InputError
from flames.metrics.result import Note
from flames.records import Frozen
from flames.scorers.trained.settings import parse_section, read_config
from flames.storage.checksums import file_sha256

SECTION = "export"
_FILE_OF = {"fp32": "fp32", "bf16": "fp32", "int8": "int8"}


class File(Frozen, extra="ignore"):
    """Name and checksum of a model's file, and of the file beside it that holds large weights."""

    name: str
    sha256: str
    data: tuple[str, str] | None = None


class Check(Frozen, extra="ignore"):
    """Comparison with the original's logits on `n` responses; `changed` got another label."""

    backend: str
    precision: str
    n: int
    changed: int
    max_difference: float

    @property
    def agreement(self) -> float:
        """Percentage of unchanged labels."""
        return 100 * (self.n - self.changed) / self.n


class Package(Frozen, extra="ignore"):
    """An exported scorer: its models, by the precision of their weights, and their checks.

    `used` lists the precisions that may be used unasked. `vocabulary` is the number of rows of the
    embedding; `checked_on` has the checksums of the files with the responses.
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
        """The precisions that can be computed, fastest first."""
        return tuple(each for each in ("int8", "bf16", "fp32") if _FILE_OF[each] in self.files)

    def precision_note(self, precision: str) -> Note | None:
        """Returns a note for verdicts in a precision that changed labels; None if it did not."""
        checks = [check for check in self.checks if check.precision == precision]
        if not checks or precision in self.used:
            return None
        worst = min(checks, key=lambda check: check.agreement)
        return Note("precision", precision=precision, changed=worst.changed, total=worst.n)

    def weights(self, precision: str) -> str:
        """Returns the checksum of the weights that are used for a precision."""
        file = self.files[_FILE_OF[precision]]
        return file.sha256 + (file.data[1] if file.data else "")

    def model(self, folder: Path, precision: str) -> Path:
        """Returns the model's file for a precision, after checking its checksum."""
        file = self.files.get(_FILE_OF[precision])
        if file is None:
            exported = ", ".join(self.precisions)
            raise InputError(f"was not exported as {precision}, only as {exported}", path=folder)
        for name, sha256 in ((file.name, file.sha256), *([file.data] if file.data else [])):
            path = folder / name
            if path.parent != folder or not path.is_file():
                raise InputError(f"is no complete export: it has no {name}", path=folder)
            if file_sha256(path) != sha256:
                raise InputError("is damaged (its checksum is wrong); export again", path=path)
        return folder / file.name


def read_package(folder: str | Path) -> Package | None:
    """Reads what a scorer's folder says about its export; None if it is no export."""
    path, config = read_config(folder)
    section = config.get(SECTION) if isinstance(config, dict) else None
    return None if section is None else parse_section(Package, section, SECTION, path)
