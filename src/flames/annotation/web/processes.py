"""Several processes that serve one socket, kept alive by the one that started them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from flames.errors import OutsideError

_AT_ONCE = 1.0  # seconds; what ends by itself within them will do so again
_STOP = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger(__name__)


def run_processes(count: int, serve: Callable[[int], None]) -> None:
    """Runs `serve` in so many processes until this one is told to stop; replaces one that dies.

    `serve` gets a pipe to read from; its end means that this process is gone and `serve` is to
    return, as it does after SIGTERM.

    Raises:
        OutsideError: A process ended as soon as it had started.
    """
    watched, alive = os.pipe()
    begun: dict[int, float] = {}
    try:
        with _stopping(begun) as stopping:
            while True:
                while len(begun) < count and not stopping:
                    begun[_start(serve, watched, alive)] = time.monotonic()
                if stopping:
                    break
                process, status = os.wait()
                if process not in begun:
                    continue  # some other child of the program
                lived = time.monotonic() - begun.pop(process)
                if stopping:
                    break
                code = os.waitstatus_to_exitcode(status)
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                why = f"a process of the server ended ({how})"
                if code >= 0 and lived < _AT_ONCE:
                    raise OutsideError(f"{why} as soon as it had started")
                _log.error("%s; another takes its place", why)
    finally:
        os.close(watched)
        os.close(alive)  # whoever still serves ends
        for process in begun:
            os.waitpid(process, 0)
    signal.raise_signal(stopping[0])  # end as one process would


def _start(serve: Callable[[int], None], watched: int, alive: int) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.close(alive)
        for number in _STOP:
            signal.signal(number, signal.SIG_DFL)  # until the server sets its own
        serve(watched)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        _log.exception("a process of the server failed")
    finally:
        os._exit(code)  # nothing of the parent's is undone here


@contextlib.contextmanager
def _stopping(processes: dict[int, float]) -> Iterator[list[int]]:
    """Passes the signals that stop on to the processes; yields the list of those that came."""
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in _STOP}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
