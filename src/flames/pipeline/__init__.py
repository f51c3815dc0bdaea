"""The commands as functions: run, study, score, measure, report, compare, trend, certify, gate."""

from flames.pipeline.asynchronous import arun
from flames.pipeline.calls import (
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
    "ScoreWatch",
    "StudyOutcome",
    "arun",
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
