"""The list of responses of a page: its address, the back button, packed texts, the language."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow
from playwright.sync_api import expect

from flames.metrics.source import Source
from flames.options import LocaleLanguage
from flames.reports import browser as browsing
from flames.reports.html import html_parts, render_html
from flames.taxonomy import default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAMES = default_taxonomy()


@pytest.fixture
def written(tmp_path: Path, measured: Any) -> Callable[..., str]:
    """The address of a report as a file."""

    def write(sources: list[Source], lang: Any = "en") -> str:
        results = [measured(source) for source in sources]
        path = tmp_path / "report.html"
        path.write_text(render_html(results, sources, FLAMES, lang), encoding="utf-8")
        return path.as_uri()

    return write


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are packed, a few to a block."""
    monkeypatch.setattr(browsing, "PACKED_ABOVE", 5)
    monkeypatch.setattr(browsing, "_BLOCK", 50)


def found(page: Page, text: str) -> None:
    expect(page.locator(".found")).to_have_text(text, use_inner_text=True)


def test_a_count_is_an_address_that_can_be_sent(
    unscored: Source, written: Callable[..., str], page: Page
) -> None:
    address = written([unscored])
    page.goto(address)
    row = page.locator(".values tr.dimension").filter(has_text="Safety")
    link = row.get_by_role("link", name="33", exact=True)
    href = link.get_attribute("href")
    assert href == "#responses?dimension=Safety&score=2"
    link.click()
    found(page, "1–20 of 33")
    assert page.url == address + href
    page.get_by_role("button", name="Next").click()
    assert page.url == address + href + "&page=2"
    page.get_by_role("combobox", name="Order").select_option("low")
    assert page.url == address + href + "&order=low"
    page.goto("about:blank")
    page.goto(address + href + "&page=2")
    found(page, "21–33 of 33")
    assert page.get_by_role("combobox", name="Score").input_value() == "2"
    assert page.evaluate("scrollY") > 0


def test_the_back_button_goes_back_list_by_list(
    unscored: Source, written: Callable[..., str], page: Page
) -> None:
    address = written([unscored])
    page.goto(address)
    page.locator(".worst a").first.click()
    found(page, "1–6 of 6")
    page.get_by_role("combobox", name="Score").select_option("3")
    found(page, "1–8 of 8")
    page.get_by_role("searchbox").fill("没有这样的回复")
    found(page, "No matching responses.")
    page.go_back()
    found(page, "1–6 of 6")
    assert page.get_by_role("searchbox").input_value() == ""
    page.go_back()
    found(page, "1–20 of 354")
    assert page.url == address
    page.go_forward()
    found(page, "1–6 of 6")


@pytest.mark.parametrize(
    "hash_", ["#responses?dimension=Nowhere&page=-3", "#responses?%E0%A4%A", "#x"]
)
def test_an_address_that_says_nothing_shows_what_there_is(
    unscored: Source, written: Callable[..., str], page: Page, hash_: str
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(written([unscored]) + hash_)
    expect(page.locator(".found")).not_to_be_empty()
    assert errors == []


def test_many_responses_are_packed_and_opened_as_they_are_shown(
    unscored: Source, written: Callable[..., str], packed: None, page: Page
) -> None:
    address = written([unscored])
    html = (Path(address.removeprefix("file://"))).read_text("utf-8")
    assert html.count('class="block"') == 8
    page.goto(address)
    found(page, "1–20 of 354")
    expect(page.locator(".item-card")).to_have_count(20)
    plain = [verdict for verdict in unscored.verdicts if verdict.status == "blocked"]
    page.get_by_role("combobox", name="Status").select_option(label="blocked")
    found(page, f"1–{len(plain)} of {len(plain)}")
    page.get_by_role("combobox", name="Status").select_option(label="All")
    wanted = next(r.response for r in list(unscored.responses.values())[::-1] if r.response)
    page.get_by_role("searchbox").fill(wanted[:15])
    expect(page.locator(".item-card")).to_have_count(1)
    assert wanted in page.locator(".item-card").inner_text()
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("combobox", name="Order").select_option("high")
    expect(page.locator(".item-card").first).to_contain_text("3 harmless")
    assert overflow(page) <= 0


def test_packed_hostile_texts_run_nothing(
    hostile: Source, written: Callable[..., str], packed: None, page: Page
) -> None:
    address = written([hostile])
    page.goto(address)
    expect(page.locator(".item-card")).to_have_count(len(hostile.verdicts))
    assert page.evaluate("window.owned") is None
    assert "<script>window.owned=1</script>" in page.locator(".items").inner_text()
    page.get_by_role("searchbox").fill("<b>")
    expect(page.locator(".item-card")).to_have_count(0)
    page.get_by_role("searchbox").fill("&lt;b&gt;")
    expect(page.locator(".item-card")).to_have_count(1)
    page.locator(".failures a").first.click()
    expect(page.locator(".found")).to_contain_text("of")
    assert page.evaluate("window.owned") is None


def test_a_page_of_many_responses_is_written_in_pieces(
    unscored: Source, measured: Any, packed: None
) -> None:
    parts = list(html_parts([measured(unscored)], [unscored], FLAMES, "en"))
    assert len(parts) > 8
    assert sum(map(len, parts)) == len("".join(parts))


@pytest.mark.parametrize(("locale", "lang"), [("zh-TW", "zh"), ("en-GB", "en"), ("de-DE", "zh")])
def test_a_page_in_nobodys_language_follows_its_reader(
    unscored: Source, written: Callable[..., str], browser: Browser, locale: str, lang: str
) -> None:
    address = written([unscored], LocaleLanguage("zh"))
    context = browser.new_context(locale=locale)
    try:
        page = context.new_page()
        page.goto(address)
        assert page.evaluate("document.documentElement.dataset.lang") == lang
        page.get_by_role("button", name="English").click()
        assert page.evaluate("document.documentElement.lang") == "en"
        page.goto(written([unscored], "zh"))
        assert page.evaluate("document.documentElement.dataset.lang") == "zh"
    finally:
        context.close()


@pytest.mark.parametrize("width", [320, 480])
def test_rows_on_a_phone_keep_their_column_names(
    unscored: Source, written: Callable[..., str], page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(written([unscored]))
    row = page.locator(".values tr.dimension").first.inner_text()
    for name in ("Harmless rate %", "Score", "3 harmless", "2 mediocre", "1 harmful", "Unscored"):
        assert name in row, name
    assert overflow(page) <= 0
