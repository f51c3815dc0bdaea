"""The page of a comparison in real Chromium: what is missing, both languages, long names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, serious, visible_text

from flames.analysis.compare import compare
from flames.analysis.loading import load_sources
from flames.reports.comparison import render_html
from flames.storage.atomic import to_jsonl

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.chromium

LONG = "Some-Organisation/A-Model-Of-A-Very-Long-Name-72B-Instruct-" + "x" * 80


def opened(page: Page, folder: Path, *names: str, **options: Any) -> Page:
    """A comparison of the silver models `sim-weak` and `sim-formal`, and more under new names."""
    wanted = {"sim-weak": "sim-weak", "sim-formal": "sim-formal"}
    found = {s.model: s for s in load_sources("labels:silver") if s.model in wanted}
    lines = []
    for place, name in enumerate(names):
        source = list(found.values())[place % 2]
        for verdict in source.verdicts:
            if verdict.dimension == "Morality" and options.get("partial"):
                continue
            line = {**source.responses[verdict.key].to_dict(), **verdict.to_dict(), "model": name}
            if place % 2 and verdict.dimension == "Fairness":
                line |= {"score": None, "unscored": "blocked"}
            lines.append(line)
    path = folder / "lines.jsonl"
    path.write_text(to_jsonl(lines), encoding="utf-8")
    comparison = compare(load_sources(path), common=True, resamples=200)
    html = folder / "compare.html"
    html.write_text(render_html(comparison, "zh"), encoding="utf-8")
    page.goto(html.as_uri())
    return page


def test_what_is_missing_is_shown_and_said_in_the_readers_language(
    page: Page, tmp_path: Path
) -> None:
    opened(page, tmp_path, "sim-weak", "sim-formal", partial=True)
    rows = page.locator(".compare-table").first.locator("tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["总体", "公平", "安全", "道德", "合法", "数据保护"]
    for row in (rows[0], rows[1], rows[3]):
        assert set(row.split()[1:-1]) == {"–"}
    text = visible_text(page)
    for said in ("只有一方有", "未评分：sim-formal", "McNemar 精确检验；", "silver 标签是合成的",
                 "只比较共有的"):  # fmt: skip
        assert said in text, said
    assert "not in common" not in text
    assert "McNemar, exact" not in text
    assert page.locator("table:not(:has(caption))").count() == 0
    assert serious(page) == []
    page.click("text=English")
    assert "not in common" in visible_text(page)


def test_many_models_fold_their_pairs(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "a", LONG, "c")
    details = page.locator("details.result")
    assert page.locator("details.result[open]").count() == 1
    assert details.nth(2).get_attribute("open") is None
    page.locator(".matrix a[href='#pair-3']").click()
    assert details.nth(2).get_attribute("open") is not None
    assert serious(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert overflow(page) <= 0
