"""Training scorers: splits, a check for leaks, the trainer, the model card.

Importing this package loads no torch; `train` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flames.training.leaks import Leak, find_leaks, without_leaks
from flames.training.options import TrainOptions
from flames.training.splits import Split, SplitOptions, split

if TYPE_CHECKING:
    from flames.training.trainer import Trained, train

__all__ = [
    "Leak",
    "Split",
    "SplitOptions",
    "TrainOptions",
    "Trained",
    "find_leaks",
    "split",
    "train",
    "without_leaks",
]


def __getattr__(name: str) -> Any:
    if name == "Trained":
        from flames.training.trainer import Trained

        return Trained
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flames.errors import MissingExtraError

    try:
        from flames.training import trainer as _trainer
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("torch", "transformers", "accelerate"):
            raise MissingExtraError("train", "training a scorer") from None
        raise
    return _trainer.train
