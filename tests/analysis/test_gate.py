from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flames.analysis.limits import parse_limit, parse_share
from flames.cli._app import run as flames
from flames.errors import UsageError
from flames.taxonomy import default_taxonomy

SIZES = {"Fairness": 20, "Safety": 20, "Morality": 20, "Legality": 20, "Data protection": 20}


@pytest.fixture
def verdicts(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, harmless: int = 15, unscored: int = 0, **fewer: int) -> str:
        rows = []
        for dimension, n in SIZES.items():
            kept = fewer.get(dimension.replace(" ", "_"), harmless)
            for index in range(n):
                row = {"prompt_id": f"{dimension}{index}", "dimension": dimension, "scorer": "s@1"}
                row |= {"model": name}
                if dimension == "Safety" and index >= n - unscored:
                    row |= {"unscored": "blocked", "status": "blocked"}
                else:
                    row |= {"score": 3 if index < kept else 1}  # type: ignore[dict-item]
                rows.append(json.dumps(row) + "\n")
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(rows), "utf-8")
        return str(path)

    return write


def test_thresholds(verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    run = verdicts("m", Data_protection=10)
    assert flames(["gate", run, "--min", "overall=70", "--min", "Safety=75"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("pass  m: overall ≥ 70 %: 70.00 % [")
    assert flames(["gate", run, "--min", "overall=70.01"]) == 1
    assert flames(["gate", run, "--min", "data_protection=80", "--min", "overall=1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("FAIL  m: Data protection ≥ 80 %: 50.00 %")
    assert flames(["gate", run, "--min", "Law violation=1"]) == 1
    assert "not measured" in capsys.readouterr().out


def test_prompts_that_were_reworded_are_not_compared(
    verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    def asking(path: str, text: str) -> str:
        rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
        for row in rows:
            row["prompt"] = text if row["prompt_id"] == "Safety19" else row["prompt_id"]
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    base, run = asking(verdicts("base"), "旧"), asking(verdicts("new"), "新")
    said = "left out: 1 with another text under the same id, like Safety19: 旧 | 新"
    summary = Path(run).with_suffix(".md")
    for drop in ("1", "Safety=1"):
        arguments = ["gate", run, "--against", base, "--max-drop", drop, "--summary", str(summary)]
        assert flames(arguments) == 0
        assert said in capsys.readouterr().out
    assert "新" in summary.read_text("utf-8")


def test_unscored_responses(
    verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = verdicts("m", unscored=2)
    assert flames(["gate", run, "--max-unscored", "2%"]) == 0
    assert flames(["gate", run, "--max-unscored", "1.9"]) == 1
    assert "2.00 % (2 of 100: blocked 2)" in capsys.readouterr().out


def test_blocked_and_failed_responses(
    verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = verdicts("m", unscored=3)
    text = Path(run).read_text("utf-8")
    Path(run).write_text(text.replace('"blocked", "status": "blocked"', '"error"', 1), "utf-8")
    assert flames(["gate", run, "--max-blocked", "2%", "--max-failed", "1%"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pass  m: blocked ≤ 2 %: 2.00 % (2 of 100: blocked 2)",
        "pass  m: failed ≤ 1 %: 1.00 % (1 of 100: error 1)",
    ]
    assert flames(["gate", run, "--max-blocked", "1%", "--max-failed", "1%"]) == 1
    assert flames(["gate", run, "--max-failed", "0"]) == 1
    assert flames(["gate", run, "--max-unscored", "2%", "--max-blocked", "2%"]) == 1


def test_drops(verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    base, same = verdicts("base"), verdicts("same")
    slightly, badly = verdicts("slightly", Safety=12), verdicts("badly", harmless=5)
    assert flames(["gate", same, "--against", base]) == 0
    assert flames(["gate", slightly, "--against", base, "--max-drop", "3"]) == 0
    assert flames(["gate", slightly, "--against", base, "--max-drop", "2"]) == 1
    assert flames(["gate", slightly, "--against", base, "--max-drop", "Safety=10"]) == 1
    assert flames(["gate", slightly, "--against", base, "--max-drop", "2", "--significant"]) == 0
    assert "75.00 → 72.00" in capsys.readouterr().out
    assert flames(["gate", badly, "--against", base, "--max-drop", "2", "--significant"]) == 1
    assert flames(["gate", base, "--against", badly, "--max-drop", "0"]) == 0


def test_a_fall_is_corrected_over_the_rules_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(name: str, legal: range) -> str:
        rows = [
            {"prompt_id": f"{d}{i}", "dimension": d, "scorer": "s@1", "model": "m",
             "score": 3 if i in (legal if d == "Legality" else range(12)) else 1}
            for d, n in {**SIZES, "Legality": 17}.items()
            for i in range(n)
        ]  # fmt: skip
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return str(path)

    base, run = write("base", range(12)), write("new", range(8, 13))
    gate = ["gate", run, "--against", base, "--significant", "--max-drop", "Legality=2"]
    assert flames(gate) == 1
    found = capsys.readouterr().out
    assert "−41.18 [" in found
    assert "one-sided p = 0.011, corrected over 1 rule = 0.011, two-sided p = 0.039" in found
    others = [f"{name}=2" for name in SIZES if name != "Legality"]
    gate += [word for other in others for word in ("--max-drop", other)]
    assert flames([*gate, "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert rules[0]["p"] == pytest.approx(5.5 / 512)
    assert rules[0]["p_corrected"] == pytest.approx(5 * 5.5 / 512)
    assert [rule["tests"] for rule in rules] == [5] * 5


def test_a_mapping_is_for_the_file_that_has_the_column(
    verdicts: Callable[..., str], tmp_path: Path
) -> None:
    base = tmp_path / "sheet.jsonl"
    base.write_text(Path(verdicts("base", 16)).read_text("utf-8").replace('"score"', '"评分"'))
    run = verdicts("m")
    words = ["--against", str(base), "--map", "score=评分", "--max-drop"]
    assert flames(["gate", run, *words, "overall=6"]) == 0
    assert flames(["gate", run, *words, "overall=4"]) == 1


def test_what_a_pipeline_reads(verdicts: Callable[..., str], tmp_path: Path) -> None:
    run = verdicts("<m>|`x`")
    junit, summary = tmp_path / "out" / "junit.xml", tmp_path / "summary.md"
    summary.write_text("before\n")
    rules = ["--min", "overall=70", "--min", "Safety=90", "--max-unscored", "0%"]
    outputs = ["--junit", str(junit), "--summary", str(summary)]
    assert flames(["gate", run, *rules, *outputs]) == 1
    [suite] = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    [failure] = suite.findall("testcase/failure")
    assert "Safety ≥ 90 %: 75.00 %" in str(failure.get("message"))
    text = summary.read_text("utf-8")
    assert text.startswith("before\n### Flames gate: 1 of 3 rules broken")
    assert "\\<m\\>\\|\\`x\\`" in text


def test_json(verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert flames(["gate", verdicts("m"), "--min", "overall=99", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["passed"] is False
    assert data["rules"][0]["rule"] == "overall ≥ 99 %"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a rule"),
        (["--min", "overall"], "--min takes NAME=NUMBER"),
        (["--min", "overall=140"], "from 0 to 100"),
        (["--min", "Taste=3"], "unknown name 'Taste'"),
        (["--min", "Fairness=3", "--min", "公平=4"], "--min: Fairness is given twice"),
        (["--max-drop", "3"], "--max-drop needs --against BASE"),
        (["--min", "overall=3", "--significant"], "--significant needs --against"),
        (["--max-unscored", "few"], "--max-unscored takes a share like 1%"),
        (["--min", "overall=0.6"], "surely meant as overall=60: write that; overall=0.6% if"),
        (["--max-blocked", "0.01"], "--max-blocked counts in hundredths, so 0.01 was surely"),
    ],
)
def test_rules_that_cannot_be_checked(
    verdicts: Callable[..., str],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert flames(["gate", verdicts("m"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_limits_are_read() -> None:
    taxonomy = default_taxonomy()
    assert parse_limit("Virtue = 80 %", "--min", taxonomy) == ("Morality", 80)
    assert parse_limit("心理健康=5", "--min", taxonomy) == ("Mental harm", 5)
    assert parse_limit("2", "--max-drop", taxonomy, default="overall") == ("overall", 2)
    assert parse_limit("overall=0.6%", "--min", taxonomy) == ("overall", 0.6)
    assert parse_limit("0.5", "--max-drop", taxonomy, default="overall", points=True)[1] == 0.5
    assert parse_share("1%", "--max-unscored") == 1
    assert parse_share("0.5 %", "--max-unscored") == 0.5
    assert parse_share("0", "--max-unscored") == 0
    with pytest.raises(UsageError, match="surely meant as Safety=5: write that"):
        parse_limit("Safety=.05", "--max-drop", taxonomy, points=True)
    with pytest.raises(UsageError):
        parse_share("-1", "--max-unscored")


def test_a_drop_is_not_tested_for_a_subcomponent(
    verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = verdicts("m")
    assert flames(["gate", run, "--against", run, "--max-drop", "Personal data=2"]) == 2
    assert "not for 'Personal data'" in capsys.readouterr().err


def test_an_overall_value_that_is_not_there_says_why(
    verdicts: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part.jsonl"
    lines = Path(verdicts("m")).read_text("utf-8").splitlines()
    part.write_text("\n".join(line for line in lines if '"Safety"' in line), "utf-8")
    assert flames(["gate", str(part), "--min", "overall=1"]) == 1
    assert "it takes every dimension; scored: Safety" in capsys.readouterr().out


def test_a_foreign_baseline_is_refused(verdicts: Callable[..., str], tmp_path: Path) -> None:
    run = verdicts("m")
    other = tmp_path / "other.jsonl"
    other.write_text(Path(run).read_text("utf-8").replace("s@1", "t@1"), "utf-8")
    assert flames(["gate", run, "--against", str(other)]) == 2


def test_every_scorer_is_held_to_the_rules(
    verdicts: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def judged(name: str, mild: str) -> str:
        rows = [json.loads(line) for line in Path(mild).read_text("utf-8").splitlines()]
        strict = [{**row, "scorer": "t@1", "score": 1} for row in rows]
        path = tmp_path / f"{name}-both.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *strict]), "utf-8")
        return str(path)

    run = judged("m", verdicts("m"))
    assert flames(["gate", run, "--min", "overall=70"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["pass  m · s@1", "FAIL  m · t@1"]
    assert flames(["gate", run, "--min", "overall=70", "--scorer", "s"]) == 0
    capsys.readouterr()
    base = judged("base", verdicts("base"))
    assert flames(["gate", run, "--against", base]) == 0  # each against its own scorer's baseline
    assert len(capsys.readouterr().out.splitlines()) == 2
