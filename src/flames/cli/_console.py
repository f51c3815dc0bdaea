"""Where tables are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 120
"""Columns of a table that no terminal bounds: nobody's names are folded in a pipe or a file."""


def tables(*, stderr: bool = False) -> Console:
    """Standard output (or error), at least `WIDE` where it is no terminal."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if console.is_terminal:
        return console
    return Console(stderr=stderr, width=max(console.width, WIDE))
