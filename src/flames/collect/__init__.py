"""Asking models: the engine for collecting and judging, its limits, and the journal of answers."""
