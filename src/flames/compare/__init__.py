"""Comparing models pair by pair: tests, intervals, what changed; on terminals and as a page."""

from flames.compare._compare import compare
from flames.compare._page import render_html
from flames.compare._result import (
    Change,
    Comparison,
    Difference,
    DimensionComparison,
    PairComparison,
    Side,
)
from flames.compare._terminal import print_comparison

__all__ = [
    "Change",
    "Comparison",
    "Difference",
    "DimensionComparison",
    "PairComparison",
    "Side",
    "compare",
    "print_comparison",
    "render_html",
]
