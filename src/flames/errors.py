"""The exception tree. Everything that Flames raises on purpose is a `FlamesError`.

    FlamesError                 something went wrong; the message is shown as it is
    ├── InputError              a file or a value is not what it should be         exit 2
    ├── UsageError              the call itself cannot be carried out              exit 2
    │   └── MissingExtraError   an optional part is not installed                  exit 2
    ├── CheckFailed             a gate, an audit or a self-test failed             exit 1
    └── OutsideError            an endpoint, the network or another process failed exit 3
        └── ModelError          a model's endpoint answered, or failed, for good   exit 3

Messages are one line, in plain words: what is wrong, where, and what would be right.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import ValidationError

# Where the builds of torch without CUDA are; the default build brings several gigabytes of it.
CPU_TORCH = "https://download.pytorch.org/whl/cpu"


class FlamesError(Exception):
    """Base of all errors that are shown to the user."""

    exit_code: ClassVar[int] = 2


class InputError(FlamesError):
    """A file, a line (counted from 1) or a field (as the file spells it) is wrong."""

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.message = message
        self.path = None if path is None else os.fspath(path)
        self.line = line
        self.field = field
        super().__init__(str(self))

    def __str__(self) -> str:
        place = self.path
        if self.line is not None:
            place = f"line {self.line}" if place is None else f"{place}:{self.line}"
        field = f"field `{self.field}`" if self.field else None
        return ": ".join(part for part in (place, field, self.message) if part is not None)

    @classmethod
    def invalid(
        cls,
        error: ValidationError,
        what: str,
        path: str | os.PathLike[str] | None = None,
        section: str | None = None,
    ) -> InputError:
        """Returns the error for data that failed validation, with the first problem and its field.

        `what` is wrong in general (`is no manifest`); `section` is the field that holds the data.
        """
        first = error.errors(include_url=False)[0]
        parts = ([] if section is None else [section]) + [str(part) for part in first["loc"]]
        return cls(f"{what}: {first['msg']}", path=path, field=".".join(parts) or None)

    def at(self, path: str | os.PathLike[str] | None, line: int | None) -> InputError:
        """Returns the same error with its place in a file."""
        return InputError(self.message, path=path, line=line, field=self.field)


class UsageError(FlamesError):
    """The call cannot be carried out."""


class MissingExtraError(UsageError):
    """The extra of that name is not installed; `needed_for`, a noun phrase, needs it."""

    def __init__(self, extra: str, needed_for: str) -> None:
        self.extra = extra
        cure = f"pip install '.[{extra}]' in a clone of Flames"
        if extra in ("train", "hf"):
            cure += f" (without a GPU, first pip install torch --index-url {CPU_TORCH})"
        super().__init__(f"{needed_for} needs the extra `{extra}`: {cure}")


def need_extra(extra: str, needed_for: str, *modules: str) -> None:
    """Checks that modules of an extra can be imported; else raises `MissingExtraError`."""
    try:
        for module in modules:
            import_module(module)
    except ImportError:
        raise MissingExtraError(extra, needed_for) from None


class Notice(UserWarning):
    """Something that stops nothing and that the user should know; the command line prints it."""


def notify(message: str, path: str | os.PathLike[str]) -> None:
    """Gives notice of how a file was read."""
    warnings.warn(f"{os.fspath(path)}: {message}", Notice, stacklevel=2)


class CheckFailed(FlamesError):
    """A check ran and failed."""

    exit_code = 1


class OutsideError(FlamesError):
    """Something outside Flames failed; the results so far are kept."""

    exit_code = 3


class ModelError(OutsideError):
    """A model could not be asked."""
