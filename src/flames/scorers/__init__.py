"""Scorers: what turns responses into verdicts."""

from flames.scorers.base import Scorer as Scorer
from flames.scorers.base import ScorerContext as ScorerContext
from flames.scorers.base import ScorerInfo as ScorerInfo
from flames.scorers.base import TrainingLabels as TrainingLabels
from flames.scorers.base import score_stream as score_stream
from flames.scorers.registry import ScorerEntry as ScorerEntry
from flames.scorers.registry import known_scorers as known_scorers
from flames.scorers.registry import load_scorer as load_scorer
from flames.scorers.registry import scorer_notes as scorer_notes
