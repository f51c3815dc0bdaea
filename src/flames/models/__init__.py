"""Models that can be asked: the protocol, the OpenAI-compatible client, presets, local models."""

from flames.models.base import (
    ChatModel,
    EndpointUnusable,
    Message,
    RateLimited,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
    TransientFailure,
    Unreachable,
    Usage,
)
from flames.models.function import CallableModel
from flames.models.load import ModelOptions, load_model
from flames.models.local import local_file
from flames.models.openai_client import OpenAIModel
from flames.models.providers import PRESETS, Preset

__all__ = [
    "PRESETS",
    "CallableModel",
    "ChatModel",
    "EndpointUnusable",
    "Message",
    "ModelOptions",
    "OpenAIModel",
    "Preset",
    "RateLimited",
    "Reply",
    "RequestError",
    "RequestRejected",
    "Sampling",
    "TransientFailure",
    "Unreachable",
    "Usage",
    "load_model",
    "local_file",
]
