"""The page of a trend in real Chromium: charts, both languages, hostile names, phones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, serious, visible_text

from flames.analysis.loading import load_sources
from flames.analysis.trend import trend
from flames.reports.charts import axis_span, sparkline, time_line
from flames.reports.trend import TrendReport
from flames.storage.atomic import to_jsonl
from flames.taxonomy import default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAMES = default_taxonomy()


def lines(model: str, at: int) -> list[dict[str, Any]]:
    """Three checkpoints: the second has no score in Morality, the third fell in Safety."""
    return [
        {
            "model": model, "scorer": "s@1", "dimension": name, "prompt": f"{name} {i}",
            "response": "答", "score": None if at == 1 and name == "Morality" else
            3 if i < (3 if at == 2 and name == "Safety" else 25) else 1,
        }
        for name in FLAMES.names
        for i in range(30)
    ]  # fmt: skip


@pytest.mark.chromium
def test_the_page_shows_lines_gaps_and_changes(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    names = ["base", "second <script>window.owned=1</script>", "x" * 90]
    path.write_text(to_jsonl([r for i, n in enumerate(names) for r in lines(n, i)]), "utf-8")
    found = trend(load_sources(path), resamples=200)
    html = tmp_path / "trend.html"
    html.write_text(TrendReport(found, FLAMES, "zh").render("html"), encoding="utf-8")
    page.goto(html.as_uri())
    assert page.evaluate("window.owned") is None
    assert page.locator("svg.time").count() == 6
    assert page.locator("svg.time .step.down").count() == 1
    assert page.locator("svg.time .missing").count() == 2  # overall and Morality
    text = visible_text(page)
    for said in ("安全在", "没有评分的检查点：2", "Holm", "首尾相比"):
        assert said in text, said
    assert "Checkpoint" not in text
    assert serious(page) == []
    page.click("text=English")
    assert "Safety fell" in visible_text(page)
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflow(page) <= 0, width


def test_the_geometry_of_lines() -> None:
    found = trend_rates = [None, *(_rate(value) for value in (40, 60)), None]
    line = time_line(trend_rates, [None] * 4, {1: 20.0}, (20, 80))
    assert [(p.x, p.y) for p in line.points] == [(37.5, 66.67), (62.5, 33.33)]
    assert line.missing == (12.5, 87.5)
    assert line.steps == ((37.5, 62.5, "up"),)
    assert len(line.lines) == len(line.bands) == 1
    assert line.ticks == (80, 50, 20)
    assert axis_span(found) == (30, 70)
    assert axis_span([_rate(98)]) == (80, 100)
    assert sparkline([0, None, 100, 50], (0, 100)) == "▁·█▅"


def _rate(value: float) -> Any:
    from flames.metrics.result import Estimate

    return Estimate(value=value, low=value - 5, high=min(value + 5, 100), method="wilson")
