"""Models that can be asked: the protocol, the OpenAI-compatible client, presets, local models."""

from flames.models._base import (
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
from flames.models._callable import CallableModel
from flames.models._load import ModelOptions, load_model
from flames.models._local import local_file
from flames.models._openai import OpenAIModel
from flames.models._presets import PRESETS, Preset

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
