"""Says on a terminal what a command does, for as long as it has shown nothing yet."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

_AFTER_S = 1.5  # most commands have answered by then
_EVERY_S = 1.0
_ERASE = "\r\x1b[K"
# One says itself where it listens, and forks; the other waits at a prompt, beside all streams.
_EXEMPT = ("serve", "password")


class Working:
    """Shows a line on standard error until anything is written to it or to standard output.

    Args:
        text: What is being done; it is cut where the line would be full.
        streams: Standard error, which has to be a terminal, and standard output.
        wait: Waits that many seconds, and tells whether it was woken.
    """

    def __init__(
        self,
        text: str,
        streams: Sequence[TextIO],
        width: int,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._text, self._streams, self._width = text, streams, width
        self._ended = threading.Event()
        self._wait = wait or self._ended.wait
        self._lock = threading.Lock()
        self._shown = False

    def start(self) -> None:
        """Shows it beside the command."""
        self.watch()
        threading.Thread(target=self.show, daemon=True).start()

    def watch(self) -> None:
        """Ends it as soon as anything is written."""
        for stream in self._streams:
            stream.write = partial(self._passed, stream)  # type: ignore[method-assign]

    def show(self) -> None:
        """Shows the line after a while, and how long it has taken, until it ends."""
        seconds = _AFTER_S
        ended = self._wait(_AFTER_S)
        while not ended and self._write(seconds):
            ended = self._wait(_EVERY_S)
            seconds += _EVERY_S

    def end(self) -> None:
        """Ends it and erases the line; the streams are left as they were."""
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
            for stream in self._streams:
                vars(stream).pop("write", None)
            if self._shown:
                self._streams[0].write(_ERASE)
                self._streams[0].flush()

    def _passed(self, stream: TextIO, text: str) -> int:
        self.end()
        return stream.write(text)

    def _write(self, seconds: float) -> bool:
        from rich.cells import set_cell_size

        time = f" {seconds + 0.5:.0f} s"
        line = set_cell_size(self._text, max(0, self._width - 1 - len(time))).rstrip() + time
        with self._lock:
            if self._ended.is_set():
                return False
            error = self._streams[0]
            self._shown = True
            type(error).write(error, _ERASE + line)
            error.flush()
        return True


def working(argv: Sequence[str], table: Any, help_of: Callable[[str], str]) -> Working | None:
    """Returns what says what a command does; None where nobody looks or wants to see it.

    Args:
        argv: The command line.
        table: The commands by name, groups as such tables.
        help_of: Returns what a command does, one sentence.
    """
    path = []
    for word in argv:
        if not isinstance(table, dict) or word not in table:
            break
        path.append(word)
        table = table[word]
    quiet = not {"-q", "--quiet", "-h", "--help"}.isdisjoint(argv)
    error = sys.stderr
    if not isinstance(table, str) or quiet or path[-1] in _EXEMPT:
        return None
    if not error.isatty() or os.environ.get("TERM") == "dumb" or not hasattr(error, "__dict__"):
        return None
    name, width = " ".join(path), shutil.get_terminal_size().columns
    return Working(f"flames {name}: {help_of(name)}", (error, sys.stdout), width)
