"""Guard models as scorers: their verdicts put on the scale, with what they cannot express."""

from flames.scorers.guard._adapters import ADAPTERS, Adapter
from flames.scorers.guard._formats import GuardAnswer

__all__ = ["ADAPTERS", "Adapter", "GuardAnswer"]
