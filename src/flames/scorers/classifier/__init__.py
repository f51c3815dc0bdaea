"""The specified scorer: a pretrained backbone with one head a dimension.

Importing this package loads neither torch nor transformers; `FlamesScorer` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flames.scorers.classifier.encoding import Encoded, Encoder, pad, read_tokenizer
from flames.scorers.classifier.scorer import ClassifierScorer, softmax, unscorable, verdict_of
from flames.scorers.classifier.settings import (
    PAPER_TEMPLATE,
    RELEASED_TEMPLATE,
    Head,
    ScorerSettings,
    TrainingData,
    heads_of,
    read_settings,
    write_settings,
)

if TYPE_CHECKING:
    from flames.scorers.classifier._config import FlamesScorerConfig
    from flames.scorers.classifier._load import load
    from flames.scorers.classifier._model import FlamesScorer

__all__ = [
    "PAPER_TEMPLATE",
    "RELEASED_TEMPLATE",
    "ClassifierScorer",
    "Encoded",
    "Encoder",
    "FlamesScorer",
    "FlamesScorerConfig",
    "Head",
    "ScorerSettings",
    "TrainingData",
    "heads_of",
    "load",
    "pad",
    "read_settings",
    "read_tokenizer",
    "softmax",
    "unscorable",
    "verdict_of",
    "write_settings",
]

_LAZY = {"FlamesScorer": "_model", "FlamesScorerConfig": "_model", "load": "_load"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
