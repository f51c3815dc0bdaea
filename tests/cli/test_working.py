"""What a terminal shows while a command has not shown anything yet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len

from flames.cli._commands import COMMANDS, help_of
from flames.cli._working import Working, working


class Screen(StringIO):
    def isatty(self) -> bool:
        return True


def shown(screen: StringIO) -> list[str]:
    return screen.getvalue().split("\r\x1b[K")


def paths(table: Mapping[str, Any], *before: str) -> Iterator[tuple[str, ...]]:
    for name, entry in table.items():
        if isinstance(entry, str):
            yield (*before, name)
        else:
            yield from paths(entry, *before, name)


@pytest.mark.parametrize("path", list(paths(COMMANDS)), ids=" ".join)
def test_every_silent_command_says_what_it_does_after_two_seconds(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, waited = Screen(), [0.0]

    def wait(seconds: float) -> bool:
        waited[0] += seconds
        return waited[0] > 2

    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "100")
    watch = working(path, COMMANDS, help_of)
    if path[-1] in ("serve", "password"):  # which say something themselves, and wait
        assert watch is None
        return
    assert watch is not None
    watch._wait = wait
    watch.show()
    watch.end()
    [nothing, line, erased] = shown(screen)
    assert (nothing, erased) == ("", "")
    assert line.startswith(f"flames {' '.join(path)}: {help_of(' '.join(path))[:10]}")
    assert line.endswith(" 2 s")


@pytest.mark.parametrize("width", [5, 30, 200])
def test_the_line_fits_and_counts_until_something_is_written(width: int) -> None:
    error, out = Screen(), StringIO()
    waits = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 4:
            print("结果", file=out)
        return False

    watch = Working("flames compare: 在相同提示上比较模型", (error, out), width, wait)
    watch.watch()
    watch.show()
    print("后", file=error)
    *lines, last = shown(error)[1:]
    assert [line[-4:].strip() for line in lines] == ["2 s", "3 s", "4 s"]
    assert all(cell_len(line) < max(width, 5) for line in lines)
    assert last == "后\n"
    assert out.getvalue() == "结果\n"
    assert not {"write"} & {*vars(error), *vars(out)}


@pytest.mark.parametrize(
    "argv", [[], ["compare", "--help"], ["run", "-q"], ["nothing"], ["prompts"]]
)
def test_nothing_is_said_where_nobody_waits(
    argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Screen())
    assert working(argv, COMMANDS, help_of) is None


def test_nothing_is_said_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert working(["compare", "a", "b"], COMMANDS, help_of) is None
