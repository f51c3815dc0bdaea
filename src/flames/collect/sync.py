"""Running asynchronous work for synchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class PrivateLoop:
    """An event loop of one's own, kept between calls so that connections stay open.

    It also works where a loop is running already (in a notebook): in a thread then. A SIGTERM
    stops the work like Ctrl-C does.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work.

        Raises:
            KeyboardInterrupt: A signal stopped it; it was cancelled and has cleaned up.
        """
        if _inside_a_loop():
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(self._runner.run, work).result()
        try:
            return self._runner.run(_stoppable(work))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def close(self) -> None:
        """Ends the loop."""
        if _inside_a_loop():  # closing runs the loop once more
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._runner.close).result()
        else:
            self._runner.close()


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _stoppable(work: Coroutine[Any, Any, T]) -> T:
    with _cancelled_by(signal.SIGTERM):
        return await work


@contextlib.contextmanager
def _cancelled_by(number: signal.Signals) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) is signal.SIG_DFL
        and task is not None
    )
    if not ours or task is None:
        yield
        return
    loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
