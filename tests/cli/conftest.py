"""Running the command line in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flames.cli import main


@pytest.fixture
def flames(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `flames WORD …`: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run
