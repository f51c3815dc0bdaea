"""`flames leaderboard add`, `build` and `attack` from the command line."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.cli import main
from flames.leaderboard.entries import read_entry


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
    assert "see --replace" in err
    assert flames("add", verdicts, "--replace")[0] == 0
    code, out, err = flames("build", "--no-published", "--lang", "zh")
    assert (code, out) == (0, "site/index.html\n")
    assert "1 entries" in err
    html = (tmp_path / "site/index.html").read_text("utf-8")
    assert 'data-lang="zh"' in html
    assert "toy" in html


def test_a_broken_entry_stops_the_build_at_its_line(
    flames: Any, tmp_path: Path, verdicts: str
) -> None:
    path = tmp_path / flames("add", verdicts)[1].strip()
    text = path.read_text("utf-8")
    path.write_text(text.replace('"date": "', '"date": "x'), encoding="utf-8")
    code, _, err = flames("build")
    assert code == 2
    line = text[: text.index('"date"')].count("\n") + 1
    assert f"entries/{path.name}:{line}: field `date`: must be a day like 2026-11-22" in err
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
