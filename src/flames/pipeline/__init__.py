"""The commands as functions: run, score, measure, report, compare, certify and gate."""

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
]
