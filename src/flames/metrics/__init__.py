"""Rates, scores, intervals, tests, agreement: what is computed from streams of verdicts.

Nothing here depends on scorers, models or files.
"""

from flames.metrics.intervals import wilson
from flames.metrics.rates import Measurable, coverage, measure
from flames.metrics.result import Bounds, Coverage, Estimate, Group, Overall, Result
from flames.records import PromptSetInfo

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
