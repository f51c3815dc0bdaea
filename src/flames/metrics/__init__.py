"""Rates, scores, intervals, tests, agreement: what can be said of streams of verdicts.

Nothing here knows of scorers, models or files.
"""

from flames.metrics._intervals import wilson
from flames.metrics._measure import Measurable, coverage, measure
from flames.metrics.result import (
    Bounds,
    Coverage,
    Estimate,
    Group,
    Overall,
    PromptSetInfo,
    Result,
)

__all__ = [
    "Bounds",
    "Coverage",
    "Estimate",
    "Group",
    "Measurable",
    "Overall",
    "PromptSetInfo",
    "Result",
    "coverage",
    "measure",
    "wilson",
]
