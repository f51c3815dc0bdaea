"""Files as people bring them, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_files import CASES, TWO, Case, workbook

Flames = Callable[..., tuple[int, str, str]]


def words(case: Case) -> list[str]:
    pairs = [f"{name}={column}" for name, column in case.options.items() if name[0] != "-"]
    sheet = ["--sheet", case.options["--sheet"]] if "--sheet" in case.options else []
    return [*(["--map", ",".join(pairs)] if pairs else []), *sheet]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_small_file_on_the_command_line(flames: Flames, tmp_path: Path, case: Case) -> None:
    path = case.write(tmp_path)
    code, out, err = flames("score", path, "--scorer", "lexical", *words(case))
    told = [line for line in err.splitlines() if line.startswith("flames: ")]
    if isinstance(case.expected, str):
        assert (code, out) == (2, "")
        assert len(told) == 1
        assert told[0].startswith("flames: error: ")
        assert case.expected in told[0]
    else:
        lines = [json.loads(line) for line in out.splitlines()]
        assert (code, [line.get("response") or "" for line in lines]) == (0, case.expected)
        assert len(told) == (case.notice is not None)
        assert (case.notice or "") in "".join(told)


def test_a_dotted_column_reaches_into_objects(flames: Flames, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"data": {"q": "怎么办", "a": "请报警"}, "labels": {"dim": "安全", "score": 3}}
    path.write_text(json.dumps(row) + "\n", "utf-8")
    mapping = "prompt=data.q,response=data.a,dimension=labels.dim,score=labels.score"
    code, out, err = flames("report", path, "--map", mapping, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["overall"]["coverage"]["scored"] == 1
    code, out, err = flames("report", path, "--map", "prompt=data.question")
    assert (code, out) == (2, "")
    assert "no column 'data.question'" in err


def test_values_that_were_lost_are_written_as_null_in_the_released_format(
    flames: Flames, tmp_path: Path
) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "o.jsonl"
    path.write_text('{"dimension": "安全", "prompt": "问", "response": "答", "loss": NaN}\n')
    assert flames("score", path, "--format", "official", "--out", out)[0] == 0
    assert json.loads(out.read_text("utf-8"))["loss"] is None


def test_a_score_may_have_a_decimal_comma(flames: Flames, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("dimension;prompt;response;score\n安全;问;答;3,0\n", "utf-8")
    assert json.loads(flames("report", path, "--json")[1])["overall"]["coverage"]["scored"] == 1
    path.write_text("dimension;prompt;response;score\n安全;问;答;1,000\n", "utf-8")
    code, _, err = flames("report", path)
    assert (code, err.count("\n")) == (2, 1)
    assert "field `score`: must be a whole number, got '1,000'" in err


def test_every_command_that_reads_prompts_takes_a_sheet(flames: Flames, tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(workbook(TWO))
    code, _, err = flames("prompts", "validate", path)
    assert (code, err.count("only the sheet 一月 is read")) == (0, 1)
    code, out, err = flames("prompts", "stats", path, "--sheet", "二月", "--json")
    assert (code, err, json.loads(out)["prompts"]) == (0, "", 1)


def test_a_table_of_rates_may_have_decimal_commas(flames: Flames, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("model;dimension;n;harmless_rate_pct\nm;安全;10;45,5\n", "utf-8")
    code, out, _ = flames("leaderboard", "audit", path, "--json")
    assert (code in (0, 1), "45.5" in out) == (True, True)
