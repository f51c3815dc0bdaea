"""Calls of a batch interface: again after failures that may pass, and files only as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import BinaryIO, TypeVar

from flames.collect.batch_results import BatchResults
from flames.collect.engine import Collector
from flames.errors import OutsideError
from flames.models.base import RateLimited, RequestError, TransientFailure
from flames.models.batches import BatchClient

T = TypeVar("T")
_LONGEST_PAUSE = 60.0


class PatientCalls:
    """Calls a batch interface with the patience of a collector.

    Args:
        enduring: Whether an endpoint that has answered may be down for as long as patience lasts.

    Attributes:
        heard: Whether the endpoint has answered.
    """

    def __init__(self, client: BatchClient, collector: Collector, *, enduring: bool) -> None:
        self.heard = False
        self._client = client
        self._patience = collector.patience
        self._settings = collector.settings
        self._enduring = enduring

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls until there is an answer.

        Raises:
            RequestError: It will never work.
            OutsideError: It failed too often, or for too long.
        """
        loop = asyncio.get_running_loop()
        begun, failures = loop.time(), 0
        while True:
            try:
                result = await call()
            except RequestError as error:
                error = self._patience.understood(error)
                if not error.retryable:
                    raise error from None
                failures += not isinstance(error, RateLimited)
                late = loop.time() - begun > self._settings.patience
                often = failures > self._settings.retries
                if late or (often and not (self._enduring and self.heard)):
                    raise OutsideError(f"{error}; add --resume to go on") from None
                await asyncio.sleep(self.pause(error, failures))
            else:
                self.heard = True
                return result

    def pause(self, error: RequestError, failures: int) -> float:
        """Returns the seconds before another attempt."""
        if error.retry_after is not None:
            return error.retry_after
        longest = self._settings.backoff_s * 2.0 ** min(max(failures, 1) - 1, 10)
        return min(longest, _LONGEST_PAUSE)

    async def fetch(
        self, file: str, expected: int, target: BinaryIO, results: BatchResults
    ) -> None:
        """Downloads a file as a whole: its length, last line and number of lines are checked.

        Args:
            file: The id of the file.
            expected: How many lines it has at least.
            target: The open file that receives it, and that stays open with the results.
            results: Receive what it holds.
        """
        try:
            size = await self.patiently(lambda: self._client.size(file))
        except OutsideError:  # it can be done without
            size = None
        before = b""

        async def fetch() -> None:
            nonlocal before
            target.seek(0)
            target.truncate()
            length = await self._client.download(file, target)
            lines, digest = _read_through(target, file)
            came = f"{length} of {size} bytes" if size else f"{lines} of {expected} answers"
            whole = length == size if size else lines >= expected
            seen, before = before, digest
            if not whole and seen != digest:  # what comes twice is all that the endpoint has
                raise TransientFailure(f"{came} of the file {file} came")
            results.add(target, file, strict=False)

        await self.patiently(fetch)


def _read_through(file: BinaryIO, name: str) -> tuple[int, bytes]:
    """Returns a file's number of lines and its checksum; a torn last line is a failure."""
    file.seek(0)
    lines, last, digest = 0, b"", hashlib.sha256()
    for raw in file:
        digest.update(raw)
        if raw.strip():
            lines, last = lines + 1, raw
    try:
        json.loads(last or b"{}")
    except (ValueError, RecursionError):
        raise TransientFailure(f"the last line of the file {name} is torn") from None
    return lines, digest.digest()
