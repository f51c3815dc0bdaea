"""Rates, scores, intervals, tests and agreement, computed from streams of verdicts."""
