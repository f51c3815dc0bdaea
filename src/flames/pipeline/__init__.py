"""The commands as functions: run, score, measure, report, compare, trend, certify and gate."""

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

__all__ = [
    "RunOutcome",
    "ScoreWatch",
    "certify",
    "compare",
    "gate",
    "measure",
    "report",
    "run",
    "score",
    "trend",
]
