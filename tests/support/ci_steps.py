"""Runs the steps of CI configurations as their services would, with what is installed here.

`pip install …` does nothing (and is noted), `flames` is this checkout's. Steps that use another
action are left out: they check out code, install Python and keep files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flames

SOURCE = Path(flames.__file__).resolve().parent.parent
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_PIP = 'echo "$@" >> "$PIP_LOG"'
_PROGRAMS = {
    "pip": _PIP,
    "flames": f'exec "{sys.executable}" -m flames "$@"',
    "python": f'if [ "$2" = pip ]; then {_PIP}; else exec "{sys.executable}" "$@"; fi',
}


@dataclass
class Machine:
    """A folder to work in, and the values that expressions such as `inputs.run` have."""

    folder: Path
    tools: Path
    values: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tools.mkdir(parents=True)
        for name, text in _PROGRAMS.items():
            program = self.tools / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)

    def file(self, name: str) -> str:
        """What a file of the service holds, like the step summary."""
        path = self.tools / name
        return path.read_text("utf-8") if path.exists() else ""

    def expand(self, text: str) -> str:
        """Fills expressions in: the first alternative (`||`) that is not empty."""

        def value(found: re.Match[str]) -> str:
            names = [name.strip() for name in found[1].split("||")]
            return next((self.values[name] for name in names if self.values[name]), "")

        return _EXPRESSION.sub(value, str(text))

    def run(self, script: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs one script in the service's shell."""
        files = {name: str(self.tools / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        whole = {**os.environ, **env, **self.env, **files, "PIP_LOG": str(self.tools / "pip.log")}
        whole["PATH"] = f"{self.tools}:{os.environ['PATH']}"
        whole["PYTHONPATH"] = str(SOURCE)
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(
            command, cwd=self.folder, env=whole, capture_output=True, text=True, timeout=240
        )

    def steps(
        self, steps: Sequence[Mapping[str, Any]], env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.CompletedProcess[str]]:
        """Runs the `run` of each step of GitHub Actions until one fails."""
        for step in steps:
            if "uses" in step:
                continue
            own = {**(env or {}), **step.get("env", {})}
            filled = {name: self.expand(value) for name, value in own.items()}
            assert "${{" not in step["run"], "an expression in a script can inject commands"
            done = self.run(step["run"], filled)
            yield done
            if done.returncode:
                return
