"""Guard models as scorers: their verdicts put on the scale, with what they cannot express."""

from flames.scorers.guard._adapters import ADAPTERS, Adapter
from flames.scorers.guard._formats import GuardAnswer
from flames.scorers.guard._load import guard_with, load
from flames.scorers.guard._scorer import GuardScorer

__all__ = ["ADAPTERS", "Adapter", "GuardAnswer", "GuardScorer", "guard_with", "load"]
