"""`flames leaderboard add`, `build` and `attack` from the command line."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.cli import main
from flames.leaderboard.entries import read_entry
from flames.storage.atomic import to_csv


@pytest.fixture
def flames(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as done:
            main(["leaderboard", *arguments])
        said = capsys.readouterr()
        return int(done.value.code or 0), said.out, said.err

    return run


ROWS = [
    {"dimension": name, "prompt": f"{name} {i}", "response": "答", "predicted": (3, 1)[i % 2]}
    for name in ("Fairness", "Safety", "Morality", "Legality", "Data protection")
    for i in range(6)
]


@pytest.fixture
def verdicts(tmp_path: Path) -> str:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "toy.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "bare.jsonl").write_text('{"dimension": "Safety", "predicted": 3}\n')
    return "toy.jsonl"


def test_add_writes_an_entry_and_build_makes_the_site_of_it(
    flames: Any, tmp_path: Path, verdicts: str
) -> None:
    code, out, _ = flames("add", verdicts, "--link", "https://example.org", "--contact", "我们")
    assert code == 0
    entry = read_entry(tmp_path / out.strip())
    assert entry.model == "toy"
    assert entry.contact == "我们"
    assert entry.date == datetime.datetime.now(datetime.UTC).date().isoformat()
    assert entry.dimensions["Legality"].counts == {"3": 3, "1": 3}
    assert flames("add", verdicts, "--link", "https://example.org", "--contact", "我们")[0] == 0
    code, _, err = flames("add", verdicts)
    assert code == 2
    assert "another row 'toy' by predicted" in err
    assert flames("add", verdicts, "--overwrite")[0] == 0
    code, out, err = flames("build", "--no-published", "--lang", "zh")
    assert (code, out) == (0, "site/index.html\n")
    assert "1 entries" in err
    html = (tmp_path / "site/index.html").read_text("utf-8")
    code, out, err = flames("build", "--no-published", "--lang", "zh", "--json")
    told = json.loads(out)
    assert (code, told["entries"], err) == (0, 1, "")
    assert "site/index.html" in told["files"]
    assert all((tmp_path / name).is_file() for name in told["files"])
    told = json.loads(flames("add", verdicts, "--name", "二", "--json")[1])
    assert [(one["name"], one["scorer"]) for one in told["entries"]] == [("二", "predicted")]
    assert read_entry(tmp_path / told["entries"][0]["path"]).name == "二"
    assert 'data-lang="zh"' in html
    assert "toy" in html


def test_two_checkpoints_of_one_model_stand_beside_each_other(
    flames: Any, tmp_path: Path, verdicts: str
) -> None:
    flames("add", verdicts)
    rows = [{**row, "predicted": 3} for row in ROWS]
    (tmp_path / "later").mkdir()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "later/toy.jsonl").write_text(lines, "utf-8")
    (tmp_path / "two.jsonl").write_text(
        "".join(json.dumps({**row, "model": name}) + "\n" for row in rows for name in "ab"), "utf-8"
    )
    code, out, err = flames("add", "later/toy.jsonl")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "another row 'toy'" in err
    assert "--name NAME adds this one beside it, --overwrite replaces it" in err
    assert "one row" in flames("add", "two.jsonl", "--name", "x")[2]
    assert "`name`" in flames("add", verdicts, "--name", "a\nb")[2]
    code, out, _ = flames("add", "later/toy.jsonl", "--name", "toy, step 2000")
    assert code == 0
    entry = read_entry(tmp_path / out.strip())
    assert (entry.model, entry.name) == ("toy", "toy, step 2000")
    assert "another row" in flames("add", verdicts, "--name", "toy, step 2000")[2]
    assert flames("build", "--no-published")[0] == 0
    data = json.loads((tmp_path / "site/data/leaderboard.json").read_text("utf-8"))
    assert [row["model"] for row in data["lists"][0]["ranking"]["models"]] == [
        "toy, step 2000", "toy"
    ]  # fmt: skip
    with (tmp_path / "site/data/leaderboard.csv").open(encoding="utf-8", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["level"] in ("overall", "dimension")]
    assert {row["model"]: row["harmless_rate"] for row in table if row["level"] == "overall"} == {
        "toy": "50.0", "toy, step 2000": "100.0"
    }  # fmt: skip
    page = (tmp_path / "site/models/toy-step-2000.html").read_text("utf-8")
    assert "<dd>toy</dd>" in page
    path = tmp_path / "table.csv"
    path.write_text(to_csv(table, list(table[0])), "utf-8")
    columns = "release=list,dimension=name,harmless_rate_pct=harmless_rate"
    with pytest.raises(SystemExit) as done:
        main(["leaderboard", "audit", str(path), "--map", columns])
    assert done.value.code == 0


def test_attack_drops_no_result_of_a_model(flames: Any, tmp_path: Path, verdicts: str) -> None:
    rows = [{**row, "predicted": 3} for row in ROWS]
    (tmp_path / "later").mkdir()
    (tmp_path / "later/toy.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
    )
    data = json.loads(
        flames("attack", verdicts, "later/toy.jsonl", "--release", "none", "--json")[1]
    )
    measured = [cell for cell in data["cells"] if cell["source"] == "measured"]
    assert [cell["attack_success_rate"]["value"] for cell in measured] == [50.0, 0.0]
    assert len({cell["model"] for cell in measured}) == 2


def test_a_broken_entry_stops_the_build_at_its_field(
    flames: Any, tmp_path: Path, verdicts: str
) -> None:
    path = tmp_path / flames("add", verdicts)[1].strip()
    text = path.read_text("utf-8")
    path.write_text(text.replace('"date": "', '"date": "x'), encoding="utf-8")
    code, _, err = flames("build")
    assert code == 2
    assert f"entries/{path.name}: field `date`: must be a day like 2026-11-22" in err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "missing.jsonl"], "no such file"),
        (["add", "bare.jsonl"], "must say what was asked"),
        (["add", "toy.jsonl", "--link", "javascript:alert(1)"], "must be a web address"),
        (["add", "toy.jsonl", "--date", "yesterday"], "must be a day"),
        (["add", "toy.jsonl", "--date", "2999-01-01"], "lies in the future"),
        (["add", "toy.jsonl", "--truncated", "x"], "--truncated takes"),
        (["build", "--entries", "nowhere"], "no such folder"),
        (["build", "--entries", "toy.jsonl"], "is a file"),
        (["build", "--lang", "fr"], "--lang takes zh or en"),
        (["build", "--out", "toy.jsonl"], "is a file; the site needs a folder"),
        (["attack", "--release", "2020-01-01"], "no published release"),
    ],
)
def test_refusals_are_one_line(flames: Any, verdicts: str, arguments: list[str], said: str) -> None:
    code, out, err = flames(*arguments)
    assert code == 2
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_attack_shows_published_and_measured(flames: Any, verdicts: str) -> None:
    code, out, _ = flames("attack", verdicts)
    assert code == 0
    chat = next(line for line in out.split("\n") if line.startswith("ChatGPT"))
    assert chat.split()[:5] == ["ChatGPT", "1.63", "3.1", "53.09", "53.09"]
    toy = next(line for line in out.split("\n") if line.startswith("toy"))
    assert toy.split()[1] == "50.00"
    data = json.loads(flames("attack", verdicts, "--release", "none", "--json")[1])
    assert [cell["source"] for cell in data["cells"]] == ["published"] * 3 + ["measured"]
    assert data["cells"][-1]["attack_success_rate"].keys() == {"value", "low", "high", "method"}
    assert "攻击成功率" in flames("attack", "--lang", "zh")[1]


def test_attack_of_a_partial_set_has_no_value(flames: Any, tmp_path: Path) -> None:
    lines = (json.dumps(row) + "\n" for row in ROWS if row["dimension"] != "Safety")
    (tmp_path / "part.jsonl").write_text("".join(lines))
    data = json.loads(flames("attack", "part.jsonl", "--release", "none", "--json")[1])
    assert data["cells"][-1]["attack_success_rate"] == {"value": None}
