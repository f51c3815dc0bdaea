"""A model behind an OpenAI-compatible endpoint, over the `openai` client with its retries off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit
from urllib.request import getproxies, proxy_bypass

from flames.models.answers import bound, classify_refusal, read_answer, requested_wait
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
)
from flames.text import redact, shorten

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CONNECT_TIMEOUT_S = 15.0
NO_KEY = "none"


class OpenAIModel:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        model: The model's name as the endpoint knows it.
        base_url: The endpoint's address; it usually ends in `/v1`.
        api_key: The key; without one a placeholder is sent, which local servers ignore.
        name: The name that responses are recorded under; `model` by default.
        provider: Who runs the endpoint, for the manifest.
        headers: Further request headers. Their values are treated as secrets.
        timeout: Seconds that one request may take in all.
        max_tokens_field: The endpoint's name for the longest answer.
        organization: Send the organization and project that the environment names.
        frame: For base models, the text around the question; chat by default.
        key_from: The environment variable of the key, for messages.
        defaults: Default sampling parameters.
        concurrency: The default number of concurrent requests.
        details: Further fields for the manifest.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        api_key: str | None = None,
        name: str | None = None,
        provider: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 180.0,
        max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        organization: bool = False,
        frame: Frame | None = None,
        key_from: str | None = None,
        defaults: Sampling | None = None,
        concurrency: int = 16,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name or model
        self.concurrency = concurrency
        self.defaults = defaults or Sampling()
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._provider = provider
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._max_tokens_field = max_tokens_field
        self._organization = organization
        self._frame = frame
        self._key_from = key_from
        self._details = dict(details or {})
        self._secrets = _secrets(api_key, self._headers, base_url)
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest: provider, address without credentials, model, headers."""
        described = {
            "model": self._model,
            "provider": self._provider,
            "base_url": public_url(self._base_url),
            "api": "completions" if self._frame else "chat",
            "frame": self._frame.name if self._frame else None,
            "headers": sorted(self._headers) or None,
            **self._details,
        }
        return {name: value for name, value in described.items() if value is not None}

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Gets one answer.

        Raises:
            RequestError: There was none; its class says whether trying again makes sense.
        """
        raw = await self.post(*self._request(messages, sampling))
        return raw if isinstance(raw, Reply) else read_answer(raw, self._secrets)

    async def post(self, path: str, body: Any) -> bytes | Reply:
        """Sends a body to another path of the same endpoint.

        Returns:
            The body of the answer, or a blocked reply.

        Raises:
            RequestError: As `ask` does.
        """
        import openai

        try:
            client = self._connected()
        except Exception as error:  # proxies and certificates have many ways to be wrong
            reason = shorten(redact(f"{type(error).__name__}: {error}", self._secrets), 200)
            raise EndpointUnusable(
                f"the environment's proxy or certificates cannot be used: {reason}"
            ) from None
        try:
            async with asyncio.timeout(self._timeout):
                raw = await client.post(path, cast_to=bytes, body=body)
        except openai.APIStatusError as error:
            meaning = classify_refusal(
                error.status_code,
                _body(error),
                retry_after=requested_wait(error.response.headers),
                secrets=self._secrets,
            )
            if isinstance(meaning, Reply):
                return meaning
            raise self._explained(meaning, error) from None
        except (TimeoutError, openai.APITimeoutError) as error:
            if _within(error, "ConnectTimeout"):
                raise Unreachable(f"no connection to {self._host} in time") from None
            raise TransientFailure(f"no answer within {self._timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise self._lost(error) from None
        except UnicodeEncodeError:
            raise RequestRejected(
                "the prompt contains lone surrogates and cannot be sent as UTF-8"
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            message = redact(f"{type(error).__name__}: {error}", self._secrets)
            raise TransientFailure(message) from None
        return raw

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> tuple[str, Any]:
        body: dict[str, Any] = {"model": self._model}
        extra = dict(sampling.extra)
        if self._frame is None:
            path = "/chat/completions"
            body["messages"] = [{"role": m.role, "content": m.content} for m in messages]
        else:
            path = "/completions"
            body["prompt"] = self._frame.text(messages)
            body["stop"] = list(self._frame.stop)
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
        if sampling.max_tokens is not None:
            body[self._max_tokens_field if self._frame is None else "max_tokens"] = (
                sampling.max_tokens
            )
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        return path, {**body, **extra}

    def _connected(self) -> AsyncOpenAI:
        """Returns the client of the running event loop (connections belong to their loop)."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

            local = is_loopback(self._base_url)
            self._client = AsyncOpenAI(
                api_key=self._api_key or NO_KEY,
                base_url=self._base_url,
                default_headers=self._headers,
                timeout=Timeout(self._timeout, connect=min(CONNECT_TIMEOUT_S, self._timeout)),
                max_retries=0,
                # A proxy of the environment cannot reach what listens on this machine, and whoever
                # is pointed at another place must not get the question or the headers there.
                http_client=DefaultAsyncHttpxClient(
                    trust_env=not local, follow_redirects=False, event_hooks={"response": [bound]}
                ),
            )
            if not self._organization:  # the client reads OPENAI_ORG_ID by itself
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
        return urlsplit(public_url(self._base_url)).netloc or public_url(self._base_url)

    @property
    def _place(self) -> str:
        """The host; and the proxy where connections go through one."""
        parts, proxies = urlsplit(self._base_url), getproxies()
        named = parts.scheme in proxies or "all" in proxies
        direct = is_loopback(self._base_url) or proxy_bypass(parts.hostname or "")
        return f"{self._host} (or the environment's proxy)" if named and not direct else self._host

    def _explained(self, error: RequestError, answer: APIStatusError) -> RequestError:
        status = answer.status_code
        if not isinstance(error, EndpointUnusable):
            return error
        if status < 400:
            leads = answer.response.headers.get("location", "").partition("?")[0]
            leads = shorten(redact(leads, self._secrets), 100) or "another address"
            return EndpointUnusable(
                f"HTTP {status}: {self._host} redirects to {leads}, which is not followed; "
                "give the right address"
            )
        hint = {
            401: f"is the key in {self._key_from} right?" if self._key_from else "a key is needed",
            403: "may this key use this model?",
            404: f"is {self._model!r} a model there, and {public_url(self._base_url)} the address?",
        }.get(status)
        return EndpointUnusable(f"{error}; {hint}") if hint else error

    def _lost(self, error: BaseException) -> RequestError:
        cause = _innermost(error)
        reason = redact(str(cause) or type(cause).__name__, self._secrets)
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return EndpointUnusable(f"no such host: {self._place}")
        if _within(error, "InvalidURL", "UnsupportedProtocol", "LocalProtocolError"):
            return EndpointUnusable(f"{public_url(self._base_url)} is no usable address: {reason}")
        if _within(error, "ConnectError", "ProxyError"):
            if isinstance(cause, ConnectionRefusedError):
                reason = "connection refused"
            return Unreachable(f"nobody answers at {self._place}: {reason}")
        return TransientFailure(f"the connection was lost: {reason}")


def _secrets(key: str | None, headers: Mapping[str, str], base_url: str) -> tuple[str, ...]:
    """Returns all credentials, which no message may contain."""
    parts = urlsplit(base_url)
    hidden = (parts.password, *(value for _, value in parse_qsl(parts.query)))
    words = (word for value in headers.values() for word in (value, *value.split()))
    return tuple(text for text in (key, *hidden, *words) if text)


def _body(error: Any) -> Any:
    """Returns the whole body of an error answer; the client itself keeps a part of it."""
    try:
        return error.response.json()
    except ValueError:
        return error.response.text


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _innermost(error: BaseException) -> BaseException:
    chain = _chain(error)
    telling = [cause for cause in chain if isinstance(cause, OSError)]
    return (telling or chain)[-1]


def _within(error: BaseException, *names: str) -> bool:
    return any(type(cause).__name__ in names for cause in _chain(error))


def public_url(url: str) -> str:
    """Returns an address without user, password, query and fragment, which may hold keys."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def is_loopback(url: str) -> bool:
    """Tells whether an address is on this machine."""
    host = (urlsplit(url).hostname or "").casefold()
    return host in ("localhost", "::1") or host.startswith("127.")
