"""The options that mean the same in every command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flames.options import LangOptions, Opt


@dataclass(frozen=True)
class QuietOptions:
    """Whether progress is shown."""

    quiet: Annotated[bool, Opt("Print only results and errors, no progress.", short="-q")] = False


@dataclass(frozen=True)
class JsonOptions:
    """Whether the output is for programs."""

    json: Annotated[bool, Opt("Print JSON for programs.")] = False


@dataclass(frozen=True)
class ShowOptions(LangOptions, JsonOptions, QuietOptions):
    """How results are shown."""
