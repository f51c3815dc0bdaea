"""Several processes that serve one socket, kept alive by the one that started them."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from flames.errors import OutsideError

_AT_ONCE = 1.0  # seconds; what ends by itself within them will do so again
_STOP = (signal.SIGINT, signal.SIGTERM)
_CLOSED = -1  # connections of a process that takes none: it starts, ends or is gone
_log = logging.getLogger(__name__)


class Place:
    """One process among several, as it sees itself and the others.

    Attributes:
        parent: A pipe to read from; its end means that the process that started this one is gone.
        held: How many connections this one holds.
    """

    def __init__(self, parent: int, counts: memoryview, number: int) -> None:
        self.parent = parent
        self.held = 0
        self._counts = counts  # one cell for each process, in memory that they share
        self._number = number
        self._open = False

    def open(self) -> None:
        """Tells the others that this process takes connections."""
        self._open = True
        self.hold(self.held)

    def hold(self, connections: int) -> None:
        """Tells the others how many connections this process holds."""
        self.held = connections
        if self._open:
            self._counts[self._number] = connections

    def close(self) -> None:
        """Tells the others that this process takes no more."""
        self._open = False
        self._counts[self._number] = _CLOSED

    def others(self) -> tuple[int, ...]:
        """Returns how many connections each of the others holds that take some."""
        counts = enumerate(self._counts.tolist())
        return tuple(n for number, n in counts if number != self._number and n != _CLOSED)


def run_processes(count: int, serve: Callable[[Place], None]) -> None:
    """Runs `serve` in so many processes until this one is told to stop; replaces one that dies.

    `serve` is to return when the pipe of its place ends, as it does after SIGTERM.

    Raises:
        OutsideError: A process ended as soon as it had started.
    """
    watched, alive = os.pipe()
    counts = memoryview(mmap.mmap(-1, 4 * count)).cast("i")
    free = list(range(count))
    begun: dict[int, tuple[float, int]] = {}
    try:
        with _stopping(begun) as stopping:
            while True:
                while len(begun) < count and not stopping:
                    number = free.pop()
                    counts[number] = _CLOSED
                    process = _start(serve, Place(watched, counts, number), alive)
                    begun[process] = time.monotonic(), number
                if stopping:
                    break
                process, status = os.wait()
                if process not in begun:
                    continue  # some other child of the program
                started, number = begun.pop(process)
                lived = time.monotonic() - started
                counts[number] = _CLOSED
                free.append(number)
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


def _start(serve: Callable[[Place], None], place: Place, alive: int) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.close(alive)
        for number in _STOP:
            signal.signal(number, signal.SIG_DFL)  # until the server sets its own
        serve(place)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        _log.exception("a process of the server failed")
    finally:
        os._exit(code)  # nothing of the parent's is undone here


@contextlib.contextmanager
def _stopping(processes: Iterable[int]) -> Iterator[list[int]]:
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
