"""Scorers: what turns responses into verdicts."""
