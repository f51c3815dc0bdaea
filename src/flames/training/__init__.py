"""Training scorers: options, splits, a check for leaks, the trainer, export, import.

Importing this package loads no torch; using `train`, `train_from_files` or `Trained` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flames.training.leaks import Leak, find_leaks, without_leaks
from flames.training.options import TrainFiles, TrainOptions
from flames.training.splits import Split, SplitOptions, split

if TYPE_CHECKING:
    from flames.training.results import Trained
    from flames.training.trainer import train, train_from_files

__all__ = [
    "Leak",
    "Split",
    "SplitOptions",
    "TrainFiles",
    "TrainOptions",
    "Trained",
    "find_leaks",
    "split",
    "train",
    "train_from_files",
    "without_leaks",
]


def __getattr__(name: str) -> Any:
    if name not in ("Trained", "train", "train_from_files"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("flames.training.trainer"), name)
