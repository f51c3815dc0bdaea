"""Decides whether a request is tried again, and when an endpoint is given up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flames.collect.settings import AskSettings
from flames.errors import FlamesError
from flames.metrics.failures import fold
from flames.models.base import (
    EndpointUnusable,
    RateLimited,
    RequestError,
    RequestRejected,
    Unreachable,
)

_HOPELESS = (EndpointUnusable, Unreachable)
# After that many requests in a row without an answer, the endpoint is given up:
_LOST_IN_A_ROW = 3  # for a hopeless failure
_ALIKE = 5  # for any other, where none was ever answered and all failed for the same reason
_NEVER_ANSWERED = 10  # for any other, where none was answered yet
_FAILED_IN_A_ROW = 100  # for any other later, or rejections where none was ever answered
_DOWN = 8  # so many requests in trouble at once are not the prompts' fault


@dataclass(slots=True)
class Tries:
    """What happened to one request so far."""

    failures: int = 0  # other than rate limits
    rejections: int = 0
    last_failure: float = math.inf
    failure_before: float = math.inf
    answers_before: int = 0  # what the endpoint had answered when it failed first

    def failed(self, now: float, answers: int) -> None:
        """Counts a failure.

        Args:
            now: The time.
            answers: The number of requests that the endpoint has answered.
        """
        if not self.failures:
            self.answers_before = answers
        self.failures += 1
        self.failure_before, self.last_failure = self.last_failure, now


class Patience:
    """What all requests to an endpoint have in common; times are the loop's.

    Args:
        settings: How patient to be.
        most: Maximum number of requests at once.

    Attributes:
        answered: Whether the model ever answered; rejected requests then do not count against it.
        answers: The number of requests answered in this session.
        stop: Why the endpoint is given up, once it is.
    """

    def __init__(self, settings: AskSettings, most: int) -> None:
        self.answered = False
        self.answers = 0
        self.stop: FlamesError | None = None
        self._settings = settings
        self._most = most
        self._proven = False  # it answered in this session
        self._down = False
        self._lost = self._failed = 0
        self._reasons: set[str] = set()  # of failures, until one is answered
        self._success_at = 0.0
        self._troubled: dict[int, Tries] = {}

    def begin(self, now: float) -> None:
        """Starts to ask, anew after an end."""
        self.stop = None
        self._success_at = now
        self._down = False
        self._troubled.clear()

    @property
    def deadline(self) -> float:
        """When it ends, unless something is answered before."""
        return self._success_at + self._settings.patience

    def understood(self, failure: RequestError) -> RequestError:
        """Gives up an endpoint that asks to wait longer than patience lasts."""
        wait = failure.retry_after or 0.0
        if not isinstance(failure, RateLimited) or wait <= self._settings.patience:
            return failure
        said = f"{failure}; it asks to wait {wait:.0f} s, so resume later, or raise --patience"
        meant = EndpointUnusable(said)
        self.stop = self.stop or meant
        return meant

    def down(self, failure: RequestError, tries: Tries) -> bool:
        """Tells whether the endpoint as a whole has stopped to answer, not this request alone."""
        self._troubled[id(tries)] = tries
        self._down = self._down or (
            tries.failures > 1
            and sum(map(self._blameless, self._troubled.values())) >= _DOWN
            and self._success_at < tries.failure_before
        )
        return self._down and self._proven and failure.retryable and self._blameless(tries)

    def _blameless(self, tries: Tries) -> bool:
        """Tells whether the endpoint may have gone away when the request failed first.

        Where more was answered since than was under way at that time, it had not.
        """
        return self.answers - tries.answers_before < self._most

    def final(self, failure: RequestError, tries: Tries, now: float) -> bool:
        """Tells whether a failure is a request's last."""
        if not failure.retryable or self.stop is not None:
            return True
        used_up = tries.failures > self._settings.retries
        if isinstance(failure, RateLimited) or self.down(failure, tries):
            if now < self.deadline:
                return False
            waited = f"{self._settings.patience:g} s (--patience)"
            self.stop = EndpointUnusable(f"nothing was answered for {waited}, the last: {failure}")
            return True
        if isinstance(failure, Unreachable) and not self._proven:
            return tries.failures > 1  # the first request fails fast
        return used_up

    def ended(self, failure: RequestError | None, tries: Tries, now: float) -> None:
        """Notes how a request ended; gives the endpoint up where too many ended badly."""
        self._troubled.pop(id(tries), None)
        if failure is None:
            self.answers += 1
            self.answered = self._proven = True
            self._down = False
            self._lost = self._failed = 0
            self._success_at = now
            return
        hopeless, rejected = isinstance(failure, _HOPELESS), isinstance(failure, RequestRejected)
        self._failed = 0 if rejected and self.answered else self._failed + 1
        self._lost = self._lost + 1 if hopeless else 0
        self._reasons.add(fold(str(failure)))
        if hopeless and (not self._proven or self._lost >= _LOST_IN_A_ROW):
            self.stop = self.stop or failure
        elif not self.answered and self._failed >= _ALIKE and len(self._reasons) == 1:
            message = f"the first {self._failed} requests all failed alike: {failure}"
            self.stop = self.stop or EndpointUnusable(message)
        elif self._failed >= (_FAILED_IN_A_ROW if self._proven or rejected else _NEVER_ANSWERED):
            message = f"{self._failed} requests in a row got no answer, the last: {failure}"
            self.stop = self.stop or EndpointUnusable(message)
