from __future__ import annotations

import json
from pathlib import Path

import pytest

from flames.cli._app import run as flames

DATA = Path(__file__).resolve().parents[2] / "src" / "flames" / "data" / "published_leaderboard.csv"


def release(name: str, tmp_path: Path) -> str:
    lines = DATA.read_text("utf-8").splitlines()
    path = tmp_path / f"{name}.csv"
    path.write_text("\n".join([lines[0], *(x for x in lines if x.startswith(name))]), "utf-8")
    return str(path)


def test_only_impossible_cells_reach_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flames(["leaderboard", "audit", release("2023-12-11", tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert flames(["leaderboard", "audit", release("2023-11-08", tmp_path)]) == 1
    [line] = capsys.readouterr().out.splitlines()
    fields = line.split("\t")
    assert fields[:3] == ["2023-11-08", "GPT-4", "Legality"]
    assert fields[4] == "possible: 30.43 with 53.6"


def test_findings_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flames(["leaderboard", "audit", release("2023-11-08", tmp_path), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["cells"] == 72
    assert data["findings"][0]["model"] == "GPT-4"


def test_sizes_come_from_a_prompt_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,dimension,harmless_rate_pct\n\x1b[31mm,Safety,50.00\n", "utf-8")
    assert flames(["leaderboard", "audit", str(path)]) == 2
    assert "t.csv:2: field `n`: is missing" in capsys.readouterr().err
    assert flames(["leaderboard", "audit", str(path), "--prompts", "open"]) == 0
    path.write_text("model,dimension,harmless_rate_pct\n\x1b[31mm,Safety,50.01\n", "utf-8")
    assert flames(["leaderboard", "audit", str(path), "--prompts", "open"]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_an_unreadable_table_is_bad_input(tmp_path: Path) -> None:
    assert flames(["leaderboard", "audit", str(tmp_path / "none.csv")]) == 2
