"""The command line: each command takes options, calls one public function and prints the result.

Even typer is imported where Ctrl-C is caught.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["build_app", "main"]

# Python looks for cycles after every 700 new objects, a tenth of the time of a short command
_OBJECTS = 20_000

INTERRUPTED = 130  # also what typer makes of Ctrl-C


def build_app() -> typer.Typer:
    """Builds the whole command line as one typer app."""
    from flames.cli._app import build_app

    return build_app()


def main(argv: list[str] | None = None) -> None:
    """Runs the command line and exits.

    Exit codes: 0 fine, 1 a check failed, 2 bad input or usage, 3 the outside world failed, 70 a
    fault of flames or a plugin, 130 interrupted.
    """
    gc.set_threshold(_OBJECTS)
    try:
        from flames.cli._app import run

        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = INTERRUPTED
        sys.stderr.write("flames: stopped; what was done so far is kept\n")
    sys.exit(code)
