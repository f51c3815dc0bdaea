"""An event loop whose clock jumps to the next timer when nothing else is to be done.

Hours of waiting pass in moments, sockets of this process included.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_SETTLE_S = 0.002  # real seconds for what the kernel is still carrying between sockets


class _Jumping(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    ahead = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        sockets = len(self.get_map()) > 1  # more than the loop's own
        if events := super().select(_SETTLE_S if sockets else 0):
            return events
        self.ahead += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time is the real one plus all that was jumped over."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.ahead


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
