"""The command line, run in this process."""

from __future__ import annotations

import pytest

from flames.cli import main


def run(*words: object) -> int:
    """Runs `flames WORD …`: its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return int(done.value.code or 0)
