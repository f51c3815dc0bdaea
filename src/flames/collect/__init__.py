"""Asking models: the engine that collecting and judging share, limits, and the journal of answers."""
