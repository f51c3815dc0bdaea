"""The HTML report in real Chromium: what it shows, what it keeps out, how it reads."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, serious, visible_text
from playwright.sync_api import expect

from flames.metrics.correction import correct
from flames.metrics.result import Estimate
from flames.metrics.source import Source
from flames.reports.charts import radar
from flames.reports.html import render_html
from flames.taxonomy import Text, default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

FLAMES = default_taxonomy()
Opened = Callable[..., "Page"]


@pytest.fixture
def opened(page: Page, tmp_path: Path, measured: Any) -> Iterator[Opened]:
    """A report opened from a file; nothing but that file may be asked for."""
    page.set_default_timeout(10_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    path = tmp_path / "report.html"

    def open_report(
        sources: list[Source],
        lang: Any = "en",
        taxonomy: Any = FLAMES,
        results: Any = None,
        **options: Any,
    ) -> Page:
        results = results or [measured(source, taxonomy) for source in sources]
        html = render_html(results, sources, taxonomy, lang, **options)
        path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri())
        return page

    yield open_report
    assert asked == [path.as_uri()]


def chooser(page: Page, name: str) -> Locator:
    return page.get_by_role("combobox", name=name, exact=True)


def searching(page: Page) -> Locator:
    return page.get_by_role("searchbox", name="Search prompts and responses", exact=True)


def keep_few(page: Page) -> Page:
    """A few responses are as good as many, and quicker to check."""
    page.evaluate("[...document.querySelectorAll('.item-card')].slice(4).forEach(n => n.remove())")
    return page


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_reads_as_before(
    unscored: Source,
    measured: Any,
    stored: Any,
    opened: Opened,
    lang: Any,
    same_as_before: Callable[[str, str], None],
) -> None:
    result = stored("unscored", lambda: measured(unscored))
    page = opened([unscored], lang, results=[result])
    text = visible_text(page).split("搜索提问与回复" if lang == "zh" else "Search prompts")[0]
    same_as_before(f"page.{lang}.txt", text.strip() + "\n")


def test_headline_interval_bounds_and_what_it_rests_on(unscored: Source, opened: Opened) -> None:
    text = visible_text(opened([unscored]))
    for said in (
        "60.30 %".replace(" ", "\u202f"), "95 % interval", "If all unscored responses were harmful",
        "89.8", unscored.prompt_set.sha256, "labels:silver@1", "silver labels are synthetic",
        "Unscored: judges disagree", "of which truncated", "Wilson", "stratified bootstrap",
        "not a ranking",
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_expected_rate_stands_beside_the_counted_one(
    unsure: Source, measured: Any, opened: Opened, lang: Any
) -> None:
    result = measured(unsure)
    words = {"zh": ("预期无害率", "公平、"), "en": ("Expected harmless rate", "Fairness, ")}[lang]
    text = visible_text(opened([unsure], lang, results=[result]))
    for each in (result.overall, *result.dimensions.values(), *result.subcomponents.values()):
        assert f"{each.expected_harmless_rate.value:.2f}" in text
    for said in words:
        assert said in text, said


def test_the_language_switches_everything(unscored: Source, opened: Opened) -> None:
    page = opened([unscored], "zh")
    chinese = visible_text(page)
    assert "无害率" in chinese
    assert "Harmless rate" not in chinese
    page.get_by_role("button", name="English").click()
    english = visible_text(page)
    assert "Harmless rate" in english
    assert "无害率" not in english.split("Prompt")[0]
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == "Flames report: sim-formal"
    assert page.locator("select[name=score] option").all_inner_texts()[:2] == ["All", "3 harmless"]
    page.get_by_role("button", name="中文").click()
    assert visible_text(page) == chinese


def test_search_filters_order_and_pages(unscored: Source, opened: Opened) -> None:
    page = opened([unscored])
    found, cards = page.locator(".found"), page.locator(".item-card")
    assert found.inner_text() == "1–20 of 354"
    page.get_by_role("button", name="Next").click()
    assert found.inner_text() == "21–40 of 354"
    chooser(page, "Score").select_option("2")
    mediocre = [verdict for verdict in unscored.verdicts if verdict.score == 2]
    assert found.inner_text() == f"1–20 of {len(mediocre)}"
    assert set(page.locator(".item-card .chip.s2").all_inner_texts()) == {"2 mediocre"}
    chooser(page, "Dimension").select_option(label="Safety")
    of_safety = sum(verdict.dimension == "Safety" for verdict in mediocre)
    assert found.inner_text() == f"1–20 of {of_safety}"
    page.get_by_role("button", name="Clear filters").click()
    chooser(page, "Status").select_option(label="blocked")
    assert found.inner_text() == "1–18 of 18"
    assert "unscored · blocked" in cards.first.inner_text()
    page.get_by_role("button", name="Clear filters").click()
    chooser(page, "Score").select_option(label="unscored")
    assert found.inner_text() == "1–20 of 36"
    page.get_by_role("button", name="Clear filters").click()
    chooser(page, "Order").select_option(label="Lowest score first")
    assert "1 harmful" in cards.first.inner_text()
    wanted = next(r.response for r in unscored.responses.values() if r.response)
    assert wanted is not None
    searching(page).fill(wanted[:20].upper())
    expect(page.locator(".item-card")).to_have_count(1)
    assert wanted in cards.first.inner_text()
    searching(page).fill("没有这样的回复 at all")
    expect(page.locator(".item-card")).to_have_count(0)
    assert found.inner_text() == "No matching responses."


def test_a_count_leads_to_its_responses(unscored: Source, opened: Opened) -> None:
    page = opened([unscored])
    row = page.get_by_role("row").filter(has_text="Bias and discrimination")
    row.get_by_role("link", name="17", exact=True).click()
    assert page.locator(".found").inner_text() == "1–17 of 17"
    assert chooser(page, "Score").input_value() == "1"
    row = page.get_by_role("row").filter(has_text="Good cause")
    row.get_by_role("link").last.click()
    assert "of 2" in page.locator(".found").inner_text()


def test_reasoning_is_folded(unscored: Source, opened: Opened) -> None:
    page = opened([unscored])
    searching(page).fill(unscored.verdicts[18].prompt_id)
    expect(page.locator(".item-card")).to_have_count(1)
    card = page.locator(".item-card")
    assert "先想一想" not in card.inner_text()
    card.get_by_text("Reasoning (not scored)").click()
    card.get_by_text("Rationale").click()
    expect(card).to_contain_text("先想一想")
    assert "指出了前提" in card.inner_text()


def test_published_models_are_chosen_beside_the_radar(unscored: Source, opened: Opened) -> None:
    page = opened([unscored])
    shown = page.locator(".compare tbody tr:visible th")
    assert shown.all_inner_texts()[0].startswith("sim-formal")
    assert {"Claude", "ChatGPT", "GPT-4"} < set(shown.all_inner_texts())
    page.locator(".choose summary").click()
    page.get_by_role("checkbox", name="ChatGLM-6B").check()
    assert shown.count() == 5
    assert page.locator(".choose input:not(:checked)").first.is_disabled()
    page.get_by_role("checkbox", name="Claude", exact=True).uncheck()
    assert "Claude" not in shown.all_inner_texts()
    assert page.locator("svg.radar .other:visible").count() == 3


def test_hostile_text_runs_nothing_and_breaks_nothing(hostile: Source, opened: Opened) -> None:
    page = opened([hostile])
    for button in page.locator(".item-card summary").all():
        button.click()
    assert page.evaluate("window.owned") is None
    assert (
        page.evaluate("document.querySelectorAll('iframe, base, main img, main style').length") == 0
    )
    assert page.locator("script").count() == 3
    assert page.evaluate("[...document.querySelectorAll('a')].every(a => a.href.includes('#'))")
    text = visible_text(page)
    for said in ("<script>window.owned=1</script>", "‹U+202E›right to left", "‹U+D83D› lone",
                 "‹U+001B›[31mANSI", "{{ 7 * 7 }}", "&lt;b&gt;", "‹U+0000› NUL"):  # fmt: skip
        assert said in text, said
    assert overflow(page) <= 0


def test_a_megabyte_on_one_line_is_folded(formal: Source, read: Any, opened: Opened) -> None:
    lines = [v.to_dict() for v in formal.verdicts[:3]]
    lines[0] |= {"response": "啊" * 1_000_000, "prompt": "x" * 10_000}
    page = opened([read(lines)[0]])
    page.set_viewport_size({"width": 320, "height": 700})
    assert overflow(page) <= 0
    assert len(visible_text(page)) < 20_000
    page.get_by_role("button", name="Show all 1,000,000 characters").click()
    assert page.locator(".answer .text").first.evaluate("node => node.textContent.length") == 10**6
    assert overflow(page) <= 0


def test_ten_thousand_responses_are_paged(formal: Source, read: Any, opened: Opened) -> None:
    lines = [
        {**v.to_dict(), "sample": n, "response": f"回答{n}号" + "很长的一段话。" * 40}
        for n in range(30)
        for v in formal.verdicts[:340]
    ]
    page = opened([read(lines)[0]])
    assert page.locator(".found").inner_text() == "1–20 of 10,200"
    assert page.locator(".item-card").count() == 20
    searching(page).fill("回答17号")
    expect(page.locator(".found")).to_have_text(re.compile("of 340$"), use_inner_text=True)
    assert page.evaluate("document.querySelectorAll('*').length") < 4000


def test_several_results_stand_side_by_side(silver: list[Source], opened: Opened) -> None:
    page = opened(silver[:3])
    rows = page.locator(".overview tbody tr")
    assert rows.count() == 3
    details = page.locator("details.result")
    assert details.nth(1).get_attribute("open") is None
    chooser(page, "Model").select_option("sim-weak")
    assert set(page.locator(".item-card .model").all_inner_texts()) == {"sim-weak"}
    assert serious(keep_few(page)) == []


def test_several_verdicts_stand_on_one_response_several_responses_apart(
    formal: Source, read: Any, opened: Opened
) -> None:
    line = {**formal.verdicts[0].to_dict(), "response": "甲"}
    lines = [line, {**line, "scorer": "judge:x@1", "score": 3}, {**line, "scorer": "s@2"}]
    lines[2] |= {"response": "乙"}
    page = opened(read(lines))
    cards = page.locator(".item-card")
    assert cards.count() == 2
    assert "judge:x@1" in cards.first.inner_text()
    assert "labels:silver@1" in cards.first.inner_text()
    assert "乙" in cards.nth(1).inner_text()


@pytest.mark.parametrize("dimensions", [2, 3, 8])
def test_any_number_of_dimensions(other: Any, opened: Opened, dimensions: int) -> None:
    source, taxonomy = other(dimensions)
    page = opened([source], taxonomy=taxonomy)
    radar = page.locator("svg.radar")
    assert radar.count() == (0 if dimensions < 3 else 1)
    if dimensions >= 3:
        assert radar.locator(".spoke").count() == dimensions
        assert radar.locator(".axis").count() == dimensions
    assert "Value <1> {x}" in visible_text(page)
    assert "Compared with published" not in visible_text(page)
    assert page.locator(".item-card .chip").first.inner_text().startswith(("5", "2"))


def test_partial_and_human_sections(formal: Source, read: Any, opened: Opened) -> None:
    lines = [v.to_dict() for v in formal.verdicts if v.dimension != "Morality"]
    source = read(lines)[0]
    labels = [v.model_copy(update={"annotator": "ann<b>"}) for v in source.verdicts[::2]]
    correction = correct(source, labels, random_sample=True, target_width=3, resamples=200)
    page = opened([source], corrections=[correction])
    text = visible_text(page)
    assert "Partial: 4 of 5 dimensions were measured" in text
    assert "(missing: Morality)" in text
    assert "given by: ann<b>)." in text
    assert page.get_by_role("columnheader", name="Humans only").count() == 2
    assert serious(keep_few(page)) == []


def test_no_serious_accessibility_finding(unscored: Source, opened: Opened) -> None:
    page = opened([unscored], "zh")
    page.locator(".choose summary").click()
    chooser(page, "排序").select_option("low")
    assert serious(keep_few(page)) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page, "color-contrast") == []


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_phone_needs_no_sideways_scrolling(unscored: Source, opened: Opened, lang: Any) -> None:
    page = opened([unscored], lang)
    page.set_viewport_size({"width": 320, "height": 700})
    assert overflow(page) <= 0
    cut = page.evaluate(
        """[...document.querySelectorAll('main *')].filter(node =>
            !node.closest('.scroll, svg, .visually-hidden, thead') &&
            node.getBoundingClientRect().right > innerWidth + 1).length"""
    )
    assert cut == 0


@pytest.mark.parametrize("of", ["flames", "another taxonomy"])
def test_no_window_is_too_narrow_for_the_report(
    unscored: Source, other: Any, opened: Opened, of: str
) -> None:
    source, taxonomy = (unscored, FLAMES) if of == "flames" else other(9)
    page = opened([source], taxonomy=taxonomy)
    for width in (360, 720, 768, 900, 1024):
        page.set_viewport_size({"width": width, "height": 700})
        assert overflow(page) <= 0, width


def test_the_keyboard_reaches_everything_and_focus_is_seen(
    unscored: Source, opened: Opened
) -> None:
    page = opened([unscored])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def painted(shot: bytes) -> int:
    """How much a picture holds: the size of its pixels when packed again."""
    return len(zlib.compress(shot, 1))


def test_light_dark_phone_and_print_all_show_something(unscored: Source, opened: Opened) -> None:
    page = opened([unscored], "zh")
    light = page.screenshot()
    page.emulate_media(color_scheme="dark")
    dark = page.screenshot()
    assert light != dark
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    page.emulate_media(color_scheme="light", media="print")
    assert page.locator(".switch").is_hidden()
    assert page.locator(".items").is_hidden()
    assert page.get_by_text("打印稿不含各条回复").is_visible()
    assert min(map(painted, (light, dark, page.screenshot()))) > 20_000
    page.set_viewport_size({"width": 690, "height": 900})  # A4 less its margins
    assert overflow(page) <= 0
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 6


def test_chinese_is_drawn_as_characters_not_boxes(unscored: Source, opened: Opened) -> None:
    page = opened([unscored], "zh")
    drawn = page.evaluate(
        """() => ['公', '害', '率', '\\uffff'].map(char => {
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 48;
            const brush = canvas.getContext('2d');
            brush.font = `32px ${getComputedStyle(document.body).fontFamily}`;
            brush.fillText(char, 4, 38);
            return [...brush.getImageData(0, 0, 48, 48).data].join();
        })"""
    )
    assert len(set(drawn)) == 4  # boxes for missing characters would look alike


def test_the_file_allows_nothing_from_outside(unscored: Source, measured: Any) -> None:
    html = render_html([measured(unscored)], [unscored], FLAMES, "zh")
    head = unescape(html[: html.index("<style>")])
    assert "default-src 'none'" in head
    assert "unsafe" not in head
    markup = html.split('<script type="application/json" id="flames-data">')[0]
    assert "src=" not in markup
    assert "style=" not in markup
    data = html.split('id="flames-data">')[1].split("</script>")[0]
    assert len(json.loads(data)["rows"]) == len(unscored.verdicts)


def test_without_responses_there_is_no_browser(unscored: Source, measured: Any) -> None:
    html = render_html([measured(unscored)], [], FLAMES, "zh")
    assert 'id="responses"' not in html
    assert 'id="flames-data">null<' in html


def test_a_model_without_a_score_has_reasons_not_zeros(
    formal: Source, read: Any, opened: Opened
) -> None:
    lines = [{**v.to_dict(), "score": None, "unscored": "blocked"} for v in formal.verdicts]
    page = opened(read(lines), "zh")
    expect(page.locator(".values")).to_have_count(0)
    text = visible_text(page)
    assert f"被拦截 {len(lines)}" in text
    assert "0.00" not in text


def test_long_names_push_no_number_out_of_sight(formal: Source, read: Any, opened: Opened) -> None:
    name = "Some-Organisation/A-Model-Of-A-Very-Long-Name-72B-Instruct-" + "x" * 80
    lines = [{**v.to_dict(), "model": m} for m in (name, "short") for v in formal.verdicts]
    page = opened(read(lines))
    shown = page.locator(".overview tbody tr:first-child td:last-child").bounding_box()
    assert shown is not None
    assert shown["x"] + shown["width"] <= 1280
    page.set_viewport_size({"width": 360, "height": 700})
    shown = page.locator(".overview tbody tr:first-child td.est").first.bounding_box()
    assert shown is not None
    assert shown["x"] + shown["width"] <= 360
    page.locator(".overview a", has_text="short").click()
    assert page.locator("details.result").nth(1).get_attribute("open") is not None


def test_a_reason_in_a_sentence_is_neutralised_like_one_alone(
    formal: Source, read: Any, measured: Any
) -> None:
    line = {**formal.verdicts[0].to_dict(), "score": None, "unscored": "<b>no\u202e"}
    html = render_html([measured(read([line])[0])], [], FLAMES, "en")
    assert "Unscored: &lt;b&gt;no\ufffd" in html
    assert "\u202e" not in html


def test_long_dimensions_are_told_apart_on_the_radar() -> None:
    names = [f"一个名字非常非常长的第{n}号价值观" for n in range(1, 6)]
    english = [f"A dimension of quite a long name, number {n}" for n in range(1, 6)]
    texts = [Text(zh=zh, en=en) for zh, en in zip(names, english, strict=True)]
    same = Estimate(value=50, low=40, high=60, method="wilson")
    chart = radar(texts, [("m", [same] * 5)])
    assert chart is not None
    assert len({(axis.label.zh, axis.label_more.zh) for axis in chart.axes}) == 5
    assert len({(axis.label.en, axis.label_more.en) for axis in chart.axes}) == 5
    short = radar([Text(zh="安全", en="Safety")] * 3, [("m", [same] * 3)])
    assert short is not None
    assert {axis.label_more for axis in short.axes} == {Text(zh="", en="")}


def test_published_models_carry_their_intervals(unscored: Source, opened: Opened) -> None:
    cells = opened([unscored]).locator(".compare tbody tr:visible td").all_inner_texts()
    assert cells
    assert all(re.search(r"\[\d+\.\d, \d+\.\d\]", cell) for cell in cells)


def test_colours_of_scores_are_told_apart_by_every_colour_vision() -> None:
    """Simulated protanopia, deuteranopia and tritanopia (Machado et al. 2009, severity 1)."""
    from importlib import resources

    css = resources.files("flames.reports").joinpath("templates/base.css").read_text("utf-8")
    visions = {
        "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                   [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
    }  # fmt: skip
    for block in css.split("@media")[:2]:
        colours = {
            name: [(int(code[i : i + 2], 16) / 255) ** 2.2 for i in (0, 2, 4)]
            for name, code in re.findall(r"--(s[123]): #([0-9a-f]{6});", block)
        }
        assert len(colours) == 3
        for name, matrix in visions.items():
            seen = {
                key: [sum(m * c for m, c in zip(row, rgb, strict=True)) for row in matrix]
                for key, rgb in colours.items()
            }
            for a, b in (("s3", "s2"), ("s2", "s1"), ("s3", "s1")):
                apart = sum(
                    (max(x, 0) ** (1 / 2.2) - max(y, 0) ** (1 / 2.2)) ** 2
                    for x, y in zip(seen[a], seen[b], strict=True)
                )
                assert apart**0.5 > 0.25, (name, a, b, apart**0.5)
