"""Models that can be asked: protocol, OpenAI-compatible client, providers, local models."""

from flames.models.base import ChatModel as ChatModel
from flames.models.base import EndpointUnusable as EndpointUnusable
from flames.models.base import Message as Message
from flames.models.base import RateLimited as RateLimited
from flames.models.base import Reply as Reply
from flames.models.base import RequestError as RequestError
from flames.models.base import RequestRejected as RequestRejected
from flames.models.base import Sampling as Sampling
from flames.models.base import TransientFailure as TransientFailure
from flames.models.base import Unreachable as Unreachable
from flames.models.base import Usage as Usage
from flames.models.load import CallableModel as CallableModel
from flames.models.load import ModelOptions as ModelOptions
from flames.models.load import load_model as load_model
from flames.models.providers import PRESETS as PRESETS
from flames.models.providers import Provider as Provider
