"""What stands beside a report: another run, and the agreement of its scorers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, serious, visible_text

from flames.cli._app import run as flames
from flames.storage.atomic import to_jsonl
from flames.taxonomy import default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = default_taxonomy().names


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., str]:
    """Writes verdicts on 12 prompts a dimension, `harmless` of them with score 3, by scorers."""

    def write(name: str, **scorers: int) -> str:
        rows: list[dict[str, Any]] = [
            {
                "model": "m", "scorer": f"{scorer}@1", "dimension": dimension,
                "prompt": f"{dimension} {i}", "response": f"{name} {i}",
                "score": 3 if i < harmless else 1,
                "sampling": {"max_tokens": 96 if name == "old" else 40},
            }
            for scorer, harmless in (scorers or {"s": 8}).items()
            for dimension in NAMES
            for i in range(12)
        ]  # fmt: skip
        path = tmp_path / f"{name}.jsonl"
        path.write_text(to_jsonl(rows), "utf-8")
        return str(path)

    return write


def test_another_run_stands_beside_a_report(
    lines: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = lines("new"), lines("old", s=4)
    assert flames(["report", new, "--beside", old, "--lang", "en"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Side by side" in out
    assert "max_tokens: 40 | 96 (this report | old.jsonl (m))" in out
    assert flames(["report", new, "--beside", old, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["overall"]["harmless_rate"]["value"] == pytest.approx(100 * 8 / 12)
    [beside] = data["beside"]
    assert beside["overall"]["harmless_rate"]["value"] == pytest.approx(100 * 4 / 12)
    assert data["beside_notes"][0]["code"] == "beside_conditions"
    assert flames(["report", new, "--beside", old, "--format", "csv"]) == 2
    assert "--beside is shown as" in capsys.readouterr().err
    other = lines("other", t=4)
    assert flames(["report", new, "--beside", other, "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["beside_notes"]
    assert [note["code"] for note in notes] == ["beside_scorer"]


@pytest.mark.chromium
def test_the_radar_holds_the_other_run_and_no_published_model(
    page: Page, lines: Callable[..., str], tmp_path: Path
) -> None:
    html = tmp_path / "r.html"
    command = ["report", lines("new"), "--beside", lines("old", s=4), "--format", "html"]
    assert flames([*command, "--out", str(html), "--lang", "en"]) == 0
    page.goto(html.as_uri())
    assert page.locator("svg.radar .series:not([hidden])").count() == 2
    text = page.locator(".compare").inner_text()
    assert "old.jsonl (m)" in text
    assert "ChatGPT" not in text
    assert "max_tokens" in text


def test_scorers_agree_and_where_they_do_not_is_a_list_to_label(
    lines: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, listed = lines("both", mild=9, strict=6), tmp_path / "list.jsonl"
    assert flames(["report", both, "--lang", "en", "--disagreements", str(listed)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Scorers of m side by side" in out
    assert "15 of 60 responses that several scorers judged have different scores" in out
    rows = [json.loads(line) for line in listed.read_text("utf-8").splitlines()]
    assert len(rows) == 15
    assert all(row["scores"] == {"mild@1": 3, "strict@1": 1} for row in rows)
    assert all(row["prompt"] and row["response"] and "score" not in row for row in rows)
    assert flames(["report", both, "--json"]) == 0
    [agreement] = json.loads(capsys.readouterr().out)["scorers"]
    [pair] = agreement["agreement"]["overall"]["pairs"]
    assert pair["percent"]["value"] == pytest.approx(75)
    assert agreement["disagreeing"] == 15
    one = lines("one", s=3)
    assert flames(["report", one, "--disagreements", str(listed)]) == 2
    assert "verdicts of several scorers" in capsys.readouterr().err
    alike = lines("alike", a=6, b=6)
    assert flames(["report", alike, "--disagreements", str(listed)]) == 2
    assert "disagree nowhere" in capsys.readouterr().err


def test_a_project_takes_the_list(lines: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    listed = tmp_path / "list.jsonl"
    assert flames(["report", lines("x", a=9, b=6), "--disagreements", str(listed)]) == 0
    assert flames(["annotate", "init", str(tmp_path / "p"), "--from", str(listed)]) == 0


@pytest.mark.chromium
def test_the_page_of_several_scorers(page: Page, lines: Callable[..., str], tmp_path: Path) -> None:
    html = tmp_path / "r.html"
    command = ["report", lines("both", mild=9, strict=6), "--format", "html", "--lang", "zh"]
    assert flames([*command, "--out", str(html)]) == 0
    page.goto(html.as_uri())
    assert "得分不同" in page.locator("#scorers").inner_text()
    assert "Agreement" not in visible_text(page)
    assert serious(page) == []
    page.set_viewport_size({"width": 320, "height": 700})
    assert overflow(page) <= 0
