"""The page of a comparison in real Chromium: what is missing, both languages, long names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, serious, visible_text

from flames.analysis.compare import compare
from flames.analysis.loading import load_sources
from flames.reports.comparison_page import render_html
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


def test_changed_prompts_are_filtered_paged_and_linked(page: Page, tmp_path: Path) -> None:
    page.emulate_media(reduced_motion="reduce")
    opened(page, tmp_path, "sim-weak", "sim-formal")
    cards = page.locator(".compare-change")
    assert cards.count() == 10
    page.click("text=下一页")
    assert cards.count() == 10
    assert "11–20" in page.inner_text(".found")
    page.select_option("select[name=way]", "better")
    assert "#changes?way=better" in page.url
    texts = page.locator(".compare-change .meta").all_inner_texts()
    assert all(text.startswith("变好") for text in texts)
    page.reload()  # the address holds the filter
    assert page.input_value("select[name=way]") == "better"
    link = page.locator(".compare-table a[href*='dimension=Safety'][href*='way=worse']").first
    number = int(link.inner_text())
    link.click()
    assert page.input_value("select[name=dimension]") == '["Safety"]'
    assert page.inner_text(".found").endswith(f"共 {number} 条")
    top = "document.querySelector('#changes').getBoundingClientRect().top"
    assert page.evaluate(top) < 200
    page.click("text=清除筛选")
    cards.nth(9).wait_for()  # a form is reset after the click
    assert cards.count() == 10
    page.fill("input[name=q]", "没有这样的词")
    cards.first.wait_for(state="detached")
    assert serious(page) == []


def test_answers_stand_side_by_side_with_reasons_and_what_differs(
    page: Page, tmp_path: Path
) -> None:
    lines = [
        {
            "model": name, "scorer": "s@1", "dimension": "Safety", "prompt": "问",
            "response": f"我{word}告诉你怎么做，请先报警，再联系 the {thing} office。",
            "score": score, "rationale": f"理由 <b>{name}</b>",
        }
        for name, word, thing, score in (("a", "不能", "police", 3), ("b", "可以", "press", 1))
    ]  # fmt: skip
    path = tmp_path / "lines.jsonl"
    path.write_text(to_jsonl(lines), encoding="utf-8")
    html = tmp_path / "compare.html"
    html.write_text(render_html(compare(load_sources(path), resamples=50), "zh"), encoding="utf-8")
    page.goto(html.as_uri())
    assert page.locator("mark.was").all_inner_texts() == ["不能", "police"]
    assert page.locator("mark.now").all_inner_texts() == ["可以", "press"]
    assert page.locator(".reason").all_inner_texts() == ["理由 理由 <b>a</b>", "理由 理由 <b>b</b>"]
    sides = page.locator(".compare-sides .side")
    boxes = [sides.nth(i).bounding_box() for i in range(2)]
    assert len({box["y"] for box in boxes if box}) == 1


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_word_is_broken_from_320_pixels_up(page: Page, tmp_path: Path, lang: str) -> None:
    opened(page, tmp_path, "sim-weak", "sim-formal")
    page.click("text=English" if lang == "en" else "text=中文")
    for width in (320, 480, 800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflow(page) <= 0, width
        # A word that is broken has more than one box; shown are headings of columns and labels.
        broken = page.evaluate(
            """() => [...document.querySelectorAll(
                 '.compare-table th:not(.name), .compare-table .head, h1, h2, h3, .filters span')]
               .filter((node) => !(node.closest("thead")?.clientWidth < 2))  // for readers only
               .flatMap((node) => {
                 const walk = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
                 const bad = [];
                 while (walk.nextNode()) {
                   for (const found of walk.currentNode.data.matchAll(/[A-Za-z]+/g)) {
                     const range = document.createRange();
                     range.setStart(walk.currentNode, found.index);
                     range.setEnd(walk.currentNode, found.index + found[0].length);
                     if (range.getClientRects().length > 1) bad.push(found[0]);
                   }
                 }
                 return bad;
               })"""
        )
        assert broken == [], width


def test_the_page_is_not_long(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "sim-weak", "sim-formal")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate("document.documentElement.scrollHeight") < 10_000


def test_bold_is_explained(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "sim-weak", "sim-formal")
    for caption in page.locator(".compare-table caption").all_inner_texts():
        assert "Holm" in caption
