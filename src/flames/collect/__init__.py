"""Asking models: the engine for collecting and judging, its limits, and runs."""
