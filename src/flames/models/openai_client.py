"""A model behind an OpenAI-compatible endpoint, over the `openai` client with its retries off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from flames.errors import FlamesError
from flames.models.addresses import api_version, hidden_values, is_azure, public_url, split_query
from flames.models.answers import bound, classify_refusal, read_answer
from flames.models.base import (
    EndpointUnusable,
    Frame,
    Message,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
    TransientFailure,
    Unreachable,
    ask_form,
)
from flames.models.http import http_client, own_headers, proxied
from flames.models.parameters import Changes
from flames.models.providers import PROVIDERS
from flames.text import redact, shorten
from flames.thinking import Tags

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI, RequestOptions

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class OpenAIModel:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        base_url: The endpoint's address; it usually ends in `/v1`. A query stays behind the path.
        api_key: The key; without one a placeholder is sent, which local servers ignore.
        name: The name that responses are recorded under; `model` by default.
        provider: The provider, for the manifest and, by its name in `PROVIDERS`, its quirks.
        headers: Further request headers. Their values are treated as secrets.
        timeout: Seconds that one request may take in all.
        think_tags: Further tags of reasoning before an answer.
        stream: Whether answers are asked for as streams.
        max_tokens_field: The name that the maximum length is sent under; the provider's by default.
        key_from: The environment variable of the key, for messages.
        terms: Prices and limits that hold unless others are given, by their options' names.
    """

    model: str
    base_url: str
    _: KW_ONLY
    api_key: str | None = None
    name: str = ""
    provider: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 180.0
    frame: Frame | None = None
    think_tags: tuple[Tags, ...] = ()
    stream: bool = False
    max_tokens_field: str | None = None
    key_from: str | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    defaults: Sampling = field(default_factory=Sampling)
    concurrency: int = 16

    def __post_init__(self) -> None:
        self.name = self.name or self.model
        self._quirks = PROVIDERS.get(self.provider or "", PROVIDERS[""])
        self.secrets = _secrets(self.api_key, self.headers, self.base_url)
        self.changes = Changes()
        own = {name.casefold() for name in self.headers}
        # Azure takes the key in a header of its own, unless the user brings a token.
        self._plain_key = is_azure(self.base_url) and not own & {"authorization", "api-key"}
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def redacted(self, text: str) -> str:
        """Returns a text without the key and the values of headers."""
        return redact(text, self.secrets)

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest: provider, address without credentials, model, headers."""
        described = {
            "model": self.model,
            "provider": self.provider,
            "base_url": public_url(self.base_url),
            "api_version": api_version(self.base_url),
            **ask_form(self.frame),
            "headers": sorted(self.headers) or None,
            "stream": self.stream or None,
            "max_tokens_field": self.max_tokens_field,
            "think_tags": [tags.opens.pattern for tags in self.think_tags] or None,
        }
        return {name: value for name, value in described.items() if value is not None}

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Gets one answer, or raises a `RequestError` that says whether to try again.

        Parameters that the endpoint refuses are changed, once for all requests.
        """
        path, wanted = self.request(messages, sampling)
        while True:
            body = self.changes.applied(wanted)
            try:
                raw = await self.post(path, body)
                if isinstance(raw, Reply):
                    return raw
                reply = read_answer(raw, self.secrets, self.think_tags)
                ends = self.frame.stop if self.frame and "stop" in self.changes.known else ()
                return _stopped(reply, ends)
            except RequestRejected as error:
                learnt = self.changes.learn(error.said, body, sampling.required)
                if not learnt and self.changes.applied(wanted) == body:
                    raise

    async def post(self, path: str, body: Any) -> bytes | Reply:
        """Sends a body to another path of the endpoint and returns its answer, or a blocked reply.

        Raises as `ask` does.
        """

        async def send(client: AsyncOpenAI, headers: Mapping[str, Any]) -> bytes:
            options: RequestOptions = {"headers": headers} if headers else {}
            return await client.post(path, cast_to=bytes, body=body, options=options)

        return await self.call(send)

    async def call(
        self,
        send: Callable[[AsyncOpenAI, Mapping[str, Any]], Awaitable[T]],
        *,
        within: float | None = None,
    ) -> T | Reply:
        """Calls the `openai` client and returns what it returns, or a blocked reply.

        Args:
            send: Gets the client, and the headers that the request needs.
            within: The most seconds that it may take in all; `timeout` unless given.

        Raises as `ask` does.
        """
        import openai

        try:
            client = self._connected()
        except FlamesError as error:
            raise EndpointUnusable(str(error)) from None
        except Exception as error:  # proxies and certificates have many ways to be wrong
            reason = shorten(redact(f"{type(error).__name__}: {error}", self.secrets), 200)
            raise EndpointUnusable(
                f"the environment's proxy or certificates cannot be used: {reason}"
            ) from None
        try:
            async with asyncio.timeout(within or self.timeout):
                return await send(
                    client, {"Authorization": openai.Omit()} if self._plain_key else {}
                )
        except openai.APIStatusError as error:
            meaning = classify_refusal(
                error.status_code,
                _body(error),
                headers=error.response.headers,
                secrets=self.secrets,
            )
            if isinstance(meaning, Reply):
                return meaning
            raise self._explained(meaning, error) from None
        except (TimeoutError, openai.APITimeoutError) as error:
            if _within(error, "ConnectTimeout"):
                raise Unreachable(f"no connection to {self._host} in time") from None
            raise TransientFailure(f"no answer within {within or self.timeout:g} s") from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:  # the latter: in a file
            raise self._lost(error) from None
        except UnicodeEncodeError:
            raise RequestRejected(
                "the prompt contains lone surrogates and cannot be sent as UTF-8"
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            message = redact(f"{type(error).__name__}: {error}", self.secrets)
            raise TransientFailure(message) from None

    def request(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> tuple[str, dict[str, Any]]:
        """Returns the path and the body of a request."""
        body: dict[str, Any] = {"model": self.model, "stream": self.stream}
        if self.frame is None:
            path = "/chat/completions"
            body["messages"] = [{"role": m.role, "content": m.content} for m in messages]
        else:
            path = "/completions"
            body["prompt"] = self.frame.text(messages)
            body["stop"] = list(self.frame.stop)
        parameters = replace(sampling, extra={}).to_dict()
        if "max_tokens" in parameters:
            quirk = self._quirks.max_tokens_field if self.frame is None else "max_tokens"
            parameters[self.max_tokens_field or quirk] = parameters.pop("max_tokens")
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        return path, {**body, **parameters, **sampling.extra}

    def _connected(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()  # connections belong to their loop
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI, Timeout

            key, theirs = self.api_key or "none", self._quirks.environment
            address, query = split_query(self.base_url)
            headers = {**self.headers, "api-key": key} if self._plain_key else self.headers
            self._client = AsyncOpenAI(
                api_key=key,
                base_url=address,
                default_query=query,
                default_headers=headers if theirs else own_headers(headers, key),
                timeout=Timeout(self.timeout, connect=min(15.0, self.timeout)),
                max_retries=0,
                http_client=http_client(self.base_url, event_hooks={"response": [bound]}),
            )
            if not theirs:  # the client reads OPENAI_ORG_ID by itself
                self._client.organization = self._client.project = None
            self._loop = loop
        return self._client

    async def aclose(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    @property
    def _host(self) -> str:
        return urlsplit(public_url(self.base_url)).netloc or public_url(self.base_url)

    @property
    def _place(self) -> str:
        """The host; and the proxy where connections go through one."""
        through = " (or the environment's proxy)" if proxied(self.base_url) else ""
        return self._host + through

    def _explained(self, error: RequestError, answer: APIStatusError) -> RequestError:
        status = answer.status_code
        if not isinstance(error, EndpointUnusable):
            return error
        if status < 400:
            leads = answer.response.headers.get("location", "").partition("?")[0]
            leads = shorten(redact(leads, self.secrets), 100) or "another address"
            return EndpointUnusable(
                f"HTTP {status}: {self._host} redirects to {leads}, which is not followed; "
                "give the right address"
            )
        hint = {
            401: f"is the key in {self.key_from} right?" if self.key_from else "a key is needed",
            403: "may this key use this model?",
            404: f"is {self.model!r} a model there, and {public_url(self.base_url)} the address?",
        }.get(status)
        return EndpointUnusable(f"{error}; {hint}") if hint else error

    def _lost(self, error: BaseException) -> RequestError:
        chain = _chain(error)
        cause = ([each for each in chain if isinstance(each, OSError)] or chain)[-1]
        reason = redact(str(cause) or type(cause).__name__, self.secrets)
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return EndpointUnusable(f"no such host: {self._place}")
        if _within(error, "InvalidURL", "UnsupportedProtocol", "LocalProtocolError"):
            return EndpointUnusable(f"{public_url(self.base_url)} is no usable address: {reason}")
        if _within(error, "ConnectError", "ProxyError"):
            if isinstance(cause, ConnectionRefusedError):
                reason = "connection refused"
            return Unreachable(f"cannot connect to {self._place}: {reason}")
        return TransientFailure(f"the connection was lost: {reason}")


def _stopped(reply: Reply, ends: Iterable[str]) -> Reply:
    """Ends an answer where the endpoint would have, had it taken `stop`."""
    text = reply.text or ""
    end = min((text.find(stop) for stop in ends if stop in text), default=-1)
    return reply if end < 0 else replace(reply, text=text[:end])


def _secrets(key: str | None, headers: Mapping[str, str], base_url: str) -> tuple[str, ...]:
    words = (word for value in headers.values() for word in (value, *value.split()))
    return tuple(text for text in (key, *hidden_values(base_url), *words) if text)


def _body(error: Any) -> Any:
    try:  # the client itself keeps a part of it only
        return error.response.json()
    except ValueError:
        return error.response.text


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _within(error: BaseException, *names: str) -> bool:
    return any(type(cause).__name__ in names for cause in _chain(error))
