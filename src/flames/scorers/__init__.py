"""Scorers: what turns responses into verdicts."""

from flames.scorers.base import Scorer, ScorerContext, ScorerInfo, TrainingLabels, score_stream
from flames.scorers.registry import ScorerEntry, known_scorers, load_scorer, scorer_notes

__all__ = [
    "Scorer",
    "ScorerContext",
    "ScorerEntry",
    "ScorerInfo",
    "TrainingLabels",
    "known_scorers",
    "load_scorer",
    "score_stream",
    "scorer_notes",
]
