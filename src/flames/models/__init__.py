"""Models that can be asked: protocol, OpenAI-compatible client, providers, local models."""

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
from flames.models.load import CallableModel, ModelOptions, load_model
from flames.models.local import local_file
from flames.models.openai_client import OpenAIModel
from flames.models.providers import PRESETS, Provider

__all__ = [
    "PRESETS",
    "CallableModel",
    "ChatModel",
    "EndpointUnusable",
    "Message",
    "ModelOptions",
    "OpenAIModel",
    "Provider",
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
