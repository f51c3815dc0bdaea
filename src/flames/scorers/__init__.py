"""Scorers: what turns responses into verdicts."""

from flames.scorers.base import Learnt, Scorer, ScorerContext, ScorerInfo, score_stream
from flames.scorers.registry import ScorerEntry, known_scorers, load_scorer, scorer_notes

__all__ = [
    "Learnt",
    "Scorer",
    "ScorerContext",
    "ScorerEntry",
    "ScorerInfo",
    "known_scorers",
    "load_scorer",
    "score_stream",
    "scorer_notes",
]
