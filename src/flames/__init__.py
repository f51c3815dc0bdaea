"""Flames: measuring how well Chinese-speaking language models keep human values."""

__version__ = "0.1.0"
