from __future__ import annotations

import json
import re
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
    assert flames(["gate", run, "--min", "overall=70", "--json"]) == 1
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert [(rule["scorer"], rule["passed"]) for rule in rules] == [("s@1", True), ("t@1", False)]
    base = judged("base", verdicts("base"))
    assert flames(["gate", run, "--against", base]) == 0  # each against its own scorer's baseline
    assert len(capsys.readouterr().out.splitlines()) == 2


HOSTILE = "<b>]]>&\x1b[31m\x00\ufffe\n=1+1"


def _with_texts(path: str) -> str:
    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"prompt": f"{row['prompt_id']} {HOSTILE}", "response": f"answer {HOSTILE}"}
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_numbers_of_every_rule_in_json(
    verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    base, run = verdicts("base"), verdicts("m", unscored=2, Safety=5)
    rules = ["--min", "Safety=80", "--max-unscored", "1%", "--against", base, "--max-drop", "1"]
    assert flames(["gate", run, *rules, "--json"]) == 1
    least, share, fall = json.loads(capsys.readouterr().out)["rules"]
    assert [rule["kind"] for rule in (least, share, fall)] == ["least", "share", "fall"]
    assert least["value"] == pytest.approx(100 * 5 / 18)
    assert least["low"] < least["value"] < least["high"]
    assert (least["n"], least["missing"], least["limit"]) == (20, 2, 80)
    assert (share["value"], share["n"], share["missing"]) == (2.0, 100, 2)
    assert share["low"] == pytest.approx(0.55, abs=0.01)  # Wilson's interval of 2 of 100
    assert share["high"] == pytest.approx(7.00, abs=0.01)
    assert fall["value"] == pytest.approx(fall["after"] - fall["before"])
    assert fall["low"] < fall["value"] < fall["high"] < 0
    assert (fall["n"], fall["missing"], fall["tests"]) == (98, 2, 1)
    assert fall["p"] <= fall["p_corrected"] < 0.01
    assert [rule["failing_n"] for rule in (least, share, fall)] == [13, 2, 10]
    assert share["failing"][0] == {
        "prompt_id": "Safety18", "dimension": "Safety", "sample": 0, "unscored": "blocked",
    }  # fmt: skip
    assert {each["dimension"] for each in least["failing"]} == {"Safety"}
    assert {(each["before"], each["score"]) for each in fall["failing"]} == {(3, 1)}


def test_failing_prompts_say_how_many_turns_came_before(
    verdicts: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [{"role": "user", "content": "早"}, {"role": "assistant", "content": "您好"}]
    base, run = verdicts("base"), verdicts("m", Safety=5)
    for path in (base, run):
        rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
        for row in rows:
            row |= {"prompt": f"然后呢{row['prompt_id']}", "history": turns}
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    rules = ["--min", "Safety=80", "--against", base, "--max-drop", "1", "--json"]
    assert flames(["gate", run, *rules]) == 1
    for rule in json.loads(capsys.readouterr().out)["rules"]:
        assert {each["earlier"] for each in rule["failing"]} == {2}
        assert all(each["prompt"].startswith("然后呢") for each in rule["failing"])
    assert flames(["gate", run, "--min", "Safety=80", "--lang", "zh", "--junit", f"{run}.xml"]) == 1
    assert "（此前 2 轮）然后呢Safety" in Path(f"{run}.xml").read_text("utf-8")


def test_a_share_of_repeats_has_the_interval_of_its_prompts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = []
    for samples in (1, 10):
        rows = [
            {"prompt_id": f"{i}", "dimension": "Safety", "scorer": "s@1", "model": "m"}
            | {"sample": sample, "score": None if i < 5 else 3}
            | ({"unscored": "blocked"} if i < 5 else {})
            for i in range(50)
            for sample in range(samples)
        ]
        path = tmp_path / f"{samples}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        assert flames(["gate", str(path), "--max-unscored", "20%", "--json"]) == 0
        [rule] = json.loads(capsys.readouterr().out)["rules"]
        widths.append(rule["high"] - rule["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_junit_and_summary_name_the_failing_prompts(
    verdicts: Callable[..., str], tmp_path: Path
) -> None:
    run, base = _with_texts(verdicts("m", Safety=5)), _with_texts(verdicts("base"))
    junit, summary = tmp_path / "j.xml", tmp_path / "s.md"
    outputs = ["--junit", str(junit), "--summary", str(summary)]
    assert flames(["gate", run, "--min", "Safety=80", "--against", base, *outputs]) == 1
    [suite] = ElementTree.parse(junit).getroot()  # a parser refuses what XML cannot hold
    for failure in suite.findall("testcase/failure"):
        first, second, *_ = str(failure.text).splitlines()[1:]
        assert first.startswith("Safety5 [Safety] ")
        assert "<b>]]>&" in first
        assert "answer" in first
        assert second.startswith("Safety6")
        assert not {"\x00", "\x1b", "\ufffe"} & set(str(failure.text))
    text = summary.read_text("utf-8")
    assert "- Safety5 \\[Safety\\] 1: Safety5 \\<b\\>" in text
    assert "- and 5 more" in text


def test_the_language_of_a_gate(
    verdicts: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, summary = verdicts("m"), tmp_path / "s.md"
    words = ["--min", "Safety=80", "--lang", "zh", "--summary", str(summary)]
    assert flames(["gate", run, *words]) == 1
    assert capsys.readouterr().out.startswith("未通过  m: 安全 ≥ 80 %: 75.00 %")
    assert "1 条规则中有 1 条未满足" in summary.read_text("utf-8")


RULES = """
significant = true
max_unscored = "3%"
max_blocked = 3
[min]
overall = 60
"数据保护" = "70%"
"""


@pytest.fixture
def rules_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def write(text: str, name: str = "flames-gate.toml") -> Path:
        monkeypatch.chdir(tmp_path)
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


def test_a_file_of_rules(
    verdicts: Callable[..., str],
    rules_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, base = verdicts("m", unscored=2), verdicts("base", Safety=16)
    rules_file(RULES)
    assert flames(["gate", run, "--json"]) == 0  # read from the working folder
    found = json.loads(capsys.readouterr().out)
    assert found["rules_file"] == "flames-gate.toml"
    limits = {rule["name"]: rule["limit"] for rule in found["rules"]}
    assert limits == {"overall": 60, "Data protection": 70, "unscored": 3, "blocked": 3}
    assert flames(["gate", run, "--against", base]) == 0  # a baseline is no rule
    said = capsys.readouterr()
    assert "falls ≤ 0 points, or unconfirmed" in said.out
    assert said.err == "rules of flames-gate.toml\n"
    assert flames(["gate", run, "--max-failed", "1%"]) == 0  # rules of its own
    assert len(capsys.readouterr().out.splitlines()) == 1
    rules = ["--rules", "flames-gate.toml", "--min", "overall=99", "--max-blocked", "0"]
    assert flames(["gate", run, *rules]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines] == ["FAIL", "pass", "pass", "FAIL"]


def test_a_baseline_in_the_file_of_rules_is_found_from_its_folder(
    verdicts: Callable[..., str],
    rules_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = verdicts("m", Safety=10)
    verdicts("base")
    rules_file('against = "../base.jsonl"\nmax_drop = 1\n', "ci/rules.toml")
    assert flames(["gate", run, "--rules", "ci/rules.toml"]) == 1
    assert "overall falls ≤ 1 points: −5.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nmax_droop = 2\n", ":2: unknown rule 'max_droop'; did you mean max_drop?"),
        ("max-unscored = 2\n", ":1: unknown rule 'max-unscored'; did you mean max_unscored?"),
        ("zebra = 2\n", "unknown rule 'zebra'; there are: min, max_drop"),
        ("# one\n[min]\nSafty = 60\n", ":3: min: unknown name 'Safty'"),
        ("[min]\noverall = 0.6\n", ":2: min counts in hundredths, so overall=0.6 was surely"),
        ("[min]\noverall = true\n", ":2: min takes a number, or a text like"),
        ("min = 60\n", ":1: min is a table: [min] with lines like overall = 60"),
        ('significant = "yes"\n', ":1: significant takes true or false, not 'yes'"),
        ("max_blocked = 'few'\n", ":1: max_blocked takes a share like 1%, not 'few'"),
        ("against = 3\n", ":1: against takes the path of a run or file, in quotes"),
        ("min = [\n", "is no TOML"),
        ('[min]\noverall = 50\n"总体" = 60\n', ":3: min: overall is given twice"),
        ("[min]\n总体 = 60\n", ":2: is no TOML: Invalid statement; names in Chinese take quotes"),
        ("max_drop = 2\n", "--max-drop needs --against BASE"),
        ("", "a gate needs a rule"),
    ],
)
def test_a_wrong_file_of_rules(
    verdicts: Callable[..., str],
    rules_file: Callable[..., Path],
    text: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = verdicts("m")
    rules_file(text)
    assert flames(["gate", run]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_file_of_rules_to_begin_with(
    verdicts: Callable[..., str],
    rules_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, base = verdicts("m"), verdicts("base")
    rules_file("", "other.toml")
    assert flames(["gate", "--init"]) == 0
    assert capsys.readouterr().out == "flames-gate.toml\n"
    assert flames(["gate", run]) == 0
    assert flames(["gate", run, "--against", base]) == 0
    commented = Path("flames-gate.toml").read_text("utf-8")
    # each rule that it shows can be taken as it stands
    every = re.sub(r'^# (\[\w+\]|(?:\w+|"[^"]+") += )', r"\1", commented, flags=re.MULTILINE)
    assert every.count("\n[") == 2
    Path("flames-gate.toml").write_text(every.replace("baseline/verdicts.jsonl", base), "utf-8")
    capsys.readouterr()
    assert flames(["gate", run]) == 1
    marks = [line[:4] for line in capsys.readouterr().out.splitlines()]
    assert marks.count("FAIL") == 1  # a subcomponent that these verdicts do not have
    assert len(marks) == 8
    assert flames(["gate", "--init"]) == 2
    assert "is already there" in capsys.readouterr().err
    assert flames(["gate", "--init", run]) == 2
    assert flames(["gate"]) == 2
