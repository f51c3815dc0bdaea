"""Batches of an OpenAI-compatible endpoint, over the `openai` client: files, batches, answers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from flames.errors import InputError, UsageError
from flames.models.addresses import public_url
from flames.models.answers import classify_refusal, reply_in
from flames.models.base import (
    ChatModel,
    EndpointUnusable,
    Message,
    Reply,
    RequestError,
    RequestRejected,
    Sampling,
    TransientFailure,
)
from flames.models.openai_client import OpenAIModel
from flames.models.providers import PRESETS, BatchTerms
from flames.options import wrong_value
from flames.storage.foreign.openai_batch import Outcome
from flames.storage.text_files import parse_json
from flames.text import shorten
from flames.thinking import Tags

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OVER = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
"""The states in which nothing more happens to a batch."""

_A_DAY = 86400.0  # seconds that a file of answers or requests may take
_MOST_BYTES = 8 * 2**30
_MOST_PAGES = 200
_A_PAGE = 100
_WINDOW = re.compile(r"([1-9]\d{0,3})([hd])")
_ANY_ADDRESS = BatchTerms(hours=(1, 9999 * 24), completions=True)


def terms_of(model: ChatModel) -> BatchTerms:
    """Returns the batch interface of a model's provider; an address of one's own may have one.

    Raises:
        UsageError: It has none that is known.
    """
    if not isinstance(model, OpenAIModel):
        raise UsageError(f"{model.name} has no batch interface: leave out --batch")
    host = urlsplit(model.base_url).netloc
    known = (name for name, each in PRESETS.items() if urlsplit(each.base_url).netloc == host)
    provider = model.provider or next(known, "")
    terms = PRESETS[provider].batch if provider else _ANY_ADDRESS
    if terms is None:
        having = ", ".join(name for name, each in PRESETS.items() if each.batch)
        raise UsageError(
            f"{PRESETS[provider].title} names no batch interface that Flames knows ({having} do): "
            "leave out --batch"
        )
    if model.frame is not None and not terms.completions:
        raise UsageError("its batches take chats only: leave out --batch, or --frame")
    return terms


def completion_window(given: str | None, terms: BatchTerms) -> str:
    """Checks how long to wait for all answers, `36h` or `2d`; a day unless given."""
    found = _WINDOW.fullmatch(given or "24h")
    hours = int(found[1]) * (24 if found[2] == "d" else 1) if found else 0
    low, high = terms.hours
    if not low <= hours <= high:
        takes = "24h here" if terms.hours == (24, 24) else f"{low}h to {high}h here"
        takes = "a time like 36h or 3d" if terms is _ANY_ADDRESS else takes
        raise wrong_value("--window", takes, given)
    return given or "24h"


def batch_request(
    model: OpenAIModel, terms: BatchTerms, messages: Sequence[Message], sampling: Sampling
) -> tuple[str, dict[str, Any]]:
    """Returns the url and the body that ask for one answer in a batch."""
    path, body = model.request(messages, sampling)
    body = model.changes.applied(body)
    for name in ("stream", "stream_options"):  # a file holds whole answers
        body.pop(name, None)
    return terms.url if path == "/chat/completions" else f"/v1{path}", body


def reply_to(
    outcome: Outcome, secrets: tuple[str, ...] = (), think_tags: Sequence[Tags] = ()
) -> Reply:
    """Reads a line of a batch's output as an answer to a request of its own would be read."""
    try:
        if not outcome.failed:
            if not outcome.body:
                raise TransientFailure("the line of the batch holds no answer")
            return reply_in(dict(outcome.body), secrets, think_tags)
        said = {"error": outcome.error, "detail": outcome.body}
        body = said if outcome.error else outcome.body
        meaning = classify_refusal(outcome.status or 200, body, secrets=secrets)
    except RequestError as error:
        meaning = error
    return meaning if isinstance(meaning, Reply) else Reply("error", note=str(meaning))


@dataclass(frozen=True)
class BatchState:
    """What an endpoint says of a batch.

    Args:
        status: Its word, in small letters; one of `OVER` when nothing more happens.
        total, done, failed: Its numbers of requests, of answered and of failed ones.
        errors: Why the file was refused.
    """

    id: str
    status: str
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in OVER


class BatchClient:
    """The files and batches of a model's endpoint. Calls raise as `OpenAIModel.ask` does."""

    def __init__(self, model: OpenAIModel, terms: BatchTerms) -> None:
        self._model = model
        self._terms = terms

    async def upload(self, name: str, content: bytes) -> str:
        """Uploads a file of requests and returns its id."""
        try:
            said = await self._json(
                lambda client, headers: client.files.with_raw_response.create(
                    file=(name, content), purpose="batch", extra_headers=headers
                ),
                within=_A_DAY,
            )
        except EndpointUnusable as error:
            if "HTTP 404" not in str(error):
                raise
            place = public_url(self._model.base_url)
            raise EndpointUnusable(
                f"HTTP 404: there is no batch interface at {place} (POST {place}/files): "
                "leave out --batch"
            ) from None
        return self._id(said)

    async def find_upload(self, name: str, size: int) -> str | None:
        """Returns the id of the file that was uploaded under a name; None if there is none."""
        async for file in self._listed("files", {"purpose": "batch"}):
            if file.get("filename") == name and file.get("bytes") in (size, None):
                return self._id(file)
        return None

    async def create(
        self, file: str, url: str, window: str, metadata: Mapping[str, str]
    ) -> BatchState:
        """Creates a batch of an uploaded file. From here on it is paid."""
        named = dict(metadata)
        if self._terms.name_field:
            named[self._terms.name_field] = metadata["flames_file"][:100]
        said = await self._json(
            lambda client, headers: client.batches.with_raw_response.create(
                input_file_id=file,
                endpoint=url,  # type: ignore[arg-type]  # not all are OpenAI's
                completion_window=window,  # type: ignore[arg-type]
                metadata=named,
                extra_headers=headers,
            )
        )
        return self._state(said)

    async def find(self, file: str, name: str) -> BatchState | None:
        """Returns the batch of an uploaded file, whose metadata may name it; None without one."""
        async for batch in self._listed("batches", {}):
            metadata = batch.get("metadata")
            ours = isinstance(metadata, Mapping) and metadata.get("flames_file") == name
            if ours or batch.get("input_file_id") == file:
                return self._state(batch)
        return None

    async def look(self, batch: str) -> BatchState:
        """Returns the state of a batch."""
        return self._state(
            await self._json(
                lambda client, headers: client.batches.with_raw_response.retrieve(
                    batch, extra_headers=headers
                )
            )
        )

    async def size(self, file: str) -> int | None:
        """Returns the length of a file in bytes, where the endpoint says it."""
        try:
            said = await self._json(
                lambda client, headers: client.files.with_raw_response.retrieve(
                    file, extra_headers=headers
                )
            )
        except (EndpointUnusable, RequestRejected):
            return None
        size = said.get("bytes")
        return size if isinstance(size, int) and size > 0 else None

    async def download(self, file: str, target: BinaryIO) -> int:
        """Writes a file of answers into an open one as it comes, and returns its length."""

        async def send(client: AsyncOpenAI, headers: Mapping[str, Any]) -> int:
            length = 0
            opened = client.files.with_streaming_response.content(file, extra_headers=headers)
            async with opened as response:
                async for part in response.iter_bytes():
                    length += len(part)
                    if length > _MOST_BYTES:
                        raise ValueError(f"the file has more than {_MOST_BYTES / 2**30:g} GB")
                    target.write(part)
            return length

        length = await self._model.call(send, within=_A_DAY)
        if isinstance(length, Reply):
            raise RequestRejected(length.note or "the file was refused")
        return length

    async def _listed(self, what: str, query: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yields what an endpoint lists, the newest first where it keeps to OpenAI's order."""
        after: str | None = None
        for _ in range(_MOST_PAGES):
            page = {**query, "limit": _A_PAGE, **({"after": after} if after else {})}
            said = await self._json(partial(_list, what, page), listed=True)
            rows = [row for row in said.get("data") or () if isinstance(row, dict)]
            for row in rows:
                yield row
            last = rows[-1].get("id") if rows else None
            if said.get("has_more") is not True or not isinstance(last, str) or last == after:
                return
            after = last

    async def _json(
        self,
        send: Callable[[AsyncOpenAI, Mapping[str, Any]], Awaitable[Any]],
        *,
        within: float | None = None,
        listed: bool = False,
    ) -> dict[str, Any]:
        """Returns the JSON object that a call of the client answers with."""
        raw = await self._model.call(send, within=within)
        if isinstance(raw, Reply):  # a filter's words about a file: nothing to ask again
            raise RequestRejected(raw.note or "the request was refused")
        try:
            said = parse_json(raw.http_response.text, None, None)
        except (InputError, UnicodeDecodeError):
            raise TransientFailure("the endpoint's answer is no JSON") from None
        if not isinstance(said, dict):
            raise TransientFailure("the endpoint's answer is no JSON object")
        if isinstance(said.get("data"), list) if listed else isinstance(said.get("id"), str):
            return said
        meaning = classify_refusal(200, said, secrets=self._model.secrets)
        raise meaning if isinstance(meaning, RequestError) else RequestRejected(str(meaning.note))

    def _id(self, said: Mapping[str, Any]) -> str:
        return str(said.get("id"))

    def _state(self, said: Mapping[str, Any]) -> BatchState:
        counts = said.get("request_counts")
        numbers = counts if isinstance(counts, Mapping) else {}
        errors = said.get("errors")
        listed = errors.get("data") if isinstance(errors, Mapping) else errors
        named = {name: said.get(f"{name}_file_id") or None for name in ("input", "output", "error")}
        files = {f"{name}_file": str(file) for name, file in named.items() if file is not None}
        metadata = said.get("metadata")
        return BatchState(
            self._id(said),
            str(said.get("status") or "unknown").lower(),
            **files,
            total=_count(numbers.get("total")),
            done=_count(numbers.get("completed")),
            failed=_count(numbers.get("failed")),
            errors=tuple(
                self._model.redacted(_problem(each))
                for each in (listed if isinstance(listed, list) else ())
            ),
            metadata=metadata if isinstance(metadata, Mapping) else {},
        )


def _list(what: str, page: Mapping[str, Any], client: AsyncOpenAI, headers: Any) -> Any:
    return getattr(client, what).with_raw_response.list(**page, extra_headers=headers)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _problem(error: Any) -> str:
    if not isinstance(error, Mapping):
        return shorten(str(error), 200)
    line, code = error.get("line"), error.get("code")
    said = str(error.get("message") or code or "no reason is given")
    place = f"line {line}: " if isinstance(line, int) else ""
    named = f" ({code})" if isinstance(code, str) and code not in said else ""
    return shorten(f"{place}{said}{named}", 200)


class FileModel(OpenAIModel):
    """A model that is asked by files: only its name in the requests is known, no address."""

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest by its name."""
        described = {"provider": "files", **super().describe()}
        return {name: value for name, value in described.items() if name != "base_url"}
