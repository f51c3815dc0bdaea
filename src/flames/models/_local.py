"""Local models: a GGUF file behind a server of its own on a loopback port."""

from __future__ import annotations

from flames.errors import UsageError
from flames.models._base import ChatModel


def local_model(options: object) -> ChatModel:
    """The small model of the extra `local`."""
    raise UsageError("not there yet")


def gguf_model(path: str, options: object) -> ChatModel:
    """A GGUF file of the user's own."""
    raise UsageError("not there yet")
