"""A transformers model in this process."""

from __future__ import annotations

from flames.errors import UsageError
from flames.models._base import ChatModel


def hf_model(path: str, options: object) -> ChatModel:
    """A model that transformers loads."""
    raise UsageError("not there yet")
