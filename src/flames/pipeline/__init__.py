"""The commands as functions: run, study, score, measure, report, compare, trend, certify, gate."""

from flames.pipeline.calls import (
    RunOutcome,
    ScoreWatch,
    certify,
    compare,
    gate,
    measure,
    report,
    run,
    score,
    trend,
)
from flames.pipeline.study_run import StudyOutcome, study

__all__ = [
    "RunOutcome",
    "ScoreWatch",
    "StudyOutcome",
    "certify",
    "compare",
    "gate",
    "measure",
    "report",
    "run",
    "score",
    "study",
    "trend",
]
