"""The released scorer of the benchmark's authors, imported into our format."""

from __future__ import annotations

from pathlib import Path

from flames.errors import UsageError
from flames.scorers.base import Scorer, ScorerContext
from flames.storage.home import home

RELEASED = "CaasiHUANG/flames-scorer"
NAME = "flames-scorer"


def default_folder() -> Path:
    """Where the imported scorer is looked for."""
    return home() / "scorers" / NAME


def parts(argument: str) -> list[str]:
    """The folder of the imported scorer."""
    return [str(default_folder())]


def load(argument: str, context: ScorerContext) -> Scorer:
    """The imported scorer, for `--scorer flames-scorer`.

    Raises:
        UsageError: It has not been imported yet.
        CheckFailed: It fails its self-test.
    """
    from flames.scorers.trained.load import load as load_folder

    folder = default_folder()
    if not (folder / "config.json").is_file():
        raise UsageError(
            "the released scorer is not imported yet: fetch its checkpoint (about 14 GB) and run "
            f"`flames scorer import FOLDER`, or `flames scorer import {RELEASED}` where the model "
            "hub can be reached"
        )
    return load_folder(str(folder), context)
