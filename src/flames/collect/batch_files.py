"""Files of requests for batches, as many as the limits of a provider ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flames.errors import UsageError
from flames.models.providers import BatchTerms
from flames.records import dump_line
from flames.storage.foreign.openai_batch import request_row
from flames.storage.run_batches import checksum
from flames.text import utf8_safe

T = TypeVar("T")
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class RequestFile:
    """A file of requests, with their custom ids in its order."""

    ids: tuple[str, ...]
    content: bytes

    def is_named(self, name: str) -> bool:
        """Tells whether a file that was planned under a name has the same content."""
        return name.endswith(f"-{checksum(self.content)}.jsonl")


def request_files(
    requests: Mapping[str, T],
    line: Callable[[T], tuple[str, Mapping[str, Any]]],
    terms: BatchTerms | None = None,
) -> Iterator[RequestFile]:
    """Yields files of requests that keep to the limits of a provider; one file without any.

    Args:
        requests: The requests by their custom ids.
        line: Returns the url and the body of a request.
    """
    most_lines = terms.lines if terms else None
    most_bytes = terms.megabytes * _MEGABYTE if terms else None
    longest = terms.line_megabytes if terms else None
    ids: list[str] = []
    rows: list[bytes] = []
    size = 0
    for given, request in requests.items():
        url, body = line(request)
        row = _row(given, url, body)
        if longest is not None and len(row) > longest * _MEGABYTE:
            what = f"{len(row) / _MEGABYTE:.1f} MB, more than the {longest:g} MB that a batch takes"
            raise UsageError(f"the request {given} has {what}: leave out --batch")
        full = most_lines is not None and len(rows) >= most_lines
        if rows and (full or (most_bytes is not None and size + len(row) > most_bytes)):
            yield RequestFile(tuple(ids), b"".join(rows))
            ids, rows, size = [], [], 0
        ids.append(given)
        rows.append(row)
        size += len(row)
    if rows:
        yield RequestFile(tuple(ids), b"".join(rows))


def _row(given: str, url: str, body: Mapping[str, Any]) -> bytes:
    text = dump_line(request_row(given, url, body))
    if "\\ud" in text and utf8_safe(str(body)) != str(body):
        what = "contains lone surrogates and cannot be sent as UTF-8"
        raise UsageError(f"the prompt of the request {given} {what}")
    return text.encode("utf-8") + b"\n"
