"""What nobody foresaw: a plugin's bug is no failed check, and Ctrl-C comes at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
import os
from flames import ScorerInfo

class Broken:
    info = ScorerInfo(id="broken@1", title="", taxonomy="flames@1")

    def score(self, responses):
        key = os.environ["OWN_VARIABLE"]
        raise RuntimeError(f"no \\x1b[2Jluck with {key} and {os.environ['JUDGE_API_KEY']}")

def load(argument, context):
    return Broken()

def model(name, options):
    raise RuntimeError(f"no model with {options.headers} at https://me:pass@example.org")
"""
ENTRY_POINTS = """
[flames.scorers]
broken = broken_scorer:load
[flames.models]
broken = broken_scorer:model
"""
METADATA = """Metadata-Version: 2.1
Name: broken-scorer
Version: 0.3
Project-URL: Issues, https://example.org/broken/issues
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with an installed package whose scorer raises."""
    folder = tmp_path / "site"
    info = folder / "broken_scorer-0.3.dist-info"
    info.mkdir(parents=True)
    (folder / "broken_scorer.py").write_text(PLUGIN, "utf-8")
    (info / "METADATA").write_text(METADATA, "utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, "utf-8")
    return folder


def test_a_plugins_bug_has_an_exit_code_of_its_own_and_names_the_package(
    plugin: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "r.jsonl"
    rows.write_text('{"dimension": "Safety", "prompt": "问", "response": "答"}\n', "utf-8")
    words = ["score", str(rows), "--scorer", "broken", "--scorer-option", "key=OWN_VARIABLE"]
    known = {"OWN_VARIABLE": "own-credential", "JUDGE_API_KEY": "sk-credential"}
    done = subprocess.run(
        [sys.executable, "-m", "flames", *words],
        env={**os.environ, **known, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 70
    assert done.stdout == ""
    *trace, last = done.stderr.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert any("broken_scorer.py" in line for line in trace)
    assert "no luck with *** and ***" in done.stderr
    assert "credential" not in done.stderr
    assert "\x1b" not in done.stderr
    assert last == (
        "flames: this is a fault of the package broken-scorer 0.3, not of your input: "
        "RuntimeError; please report it with the traceback above: https://example.org/broken/issues"
    )


@pytest.mark.parametrize("header", [["--header", "X: a-secret=="], ["--header=X: a-secret=="]])
def test_a_models_bug_gives_no_header_away(plugin: Path, tmp_path: Path, header: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flames", "ask", "broken/m", *header, "--out", str(tmp_path / "o")],
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 70
    assert "no model with {'X': '***'} at https://***@example.org" in done.stderr
    assert "a-secret" not in done.stderr
    assert "broken-scorer 0.3" in done.stderr.splitlines()[-1]


def test_our_own_bug_says_that_it_is_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flames.cli import main

    monkeypatch.setattr("flames.cli.leaderboard.audit_file", None)
    with pytest.raises(SystemExit) as done:
        main(["prompts", "list", "--header=X-Key: sk-123456"])
    assert done.value.code == 2  # a wrong call stays one
    with pytest.raises(SystemExit) as done:
        main(["leaderboard", "audit", "none.csv"])
    assert done.value.code == 70
    assert "this is a fault of flames 0." in capsys.readouterr().err


def test_ctrl_c_while_modules_are_imported_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "flames", "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "flames: stopped; what was done so far is kept\n"
