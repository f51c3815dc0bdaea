"""What holds for the project as a whole: layering, light imports, documented commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from flames.cli import build_app

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "flames"
HEAVY = ("torch", "transformers", "openai", "numpy", "scipy", "pydantic", "jinja2", "fastapi")


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(child, (*path, name))


COMMANDS = list(_commands(typer.main.get_command(build_app())))


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path


@pytest.mark.parametrize("code", ["import flames", "from flames.cli import build_app; build_app()"])
def test_starting_up_imports_nothing_heavy(code: str) -> None:
    check = f"import sys; {code}; print(*(n for n in {HEAVY!r} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_library_code_prints_nothing() -> None:
    for name, path in _modules():
        calls = (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call))
        names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        assert "print" not in names, name


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in COMMANDS])
def test_every_command_has_help_and_a_page_in_both_languages(path: str) -> None:
    command = dict(COMMANDS)[tuple(path.split())]
    assert (command.help or "").strip(), f"flames {path} has no help"
    for option in command.params:
        named = option.name not in ("help", "args")
        assert not named or getattr(option, "help", None), f"flames {path}: {option.name}"
    for folder in ("docs", "docs/zh"):
        pages = [page.read_text("utf-8") for page in sorted((ROOT / folder).glob("*.md"))]
        assert any(f"flames {path}" in page for page in pages), f"no page of {folder} names it"


@pytest.mark.parametrize("group", [(), ("scorer",), ("prompts",), ("leaderboard",), ("annotate",)])
def test_help_cuts_no_sentence_off(group: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flames", *group, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Commands:" in done.stdout
    assert "..." not in done.stdout.replace("[ARGS]...", "")


def _pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_documentation_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists(), target
        assert not heading or heading in _headings(other), target


def _headings(page: Path) -> set[str]:
    """What a page's headings are linked as: lower case, `-` for spaces, no punctuation."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_pins_name_no_local_build() -> None:
    assert "+" not in (ROOT / "constraints.txt").read_text("utf-8")
