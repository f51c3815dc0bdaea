"""Reports and comparisons show what came before a prompt, hostile as it may be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, visible_text
from playwright.sync_api import expect
from rich.console import Console

from flames.analysis.compare import compare
from flames.analysis.loading import load_sources
from flames.reports.comparison import print_comparison, render_markdown
from flames.reports.comparison_page import render_html as render_comparison
from flames.reports.html import render_html
from flames.storage.atomic import to_jsonl
from flames.taxonomy import default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.chromium
FLAMES = default_taxonomy()
HOSTILE = [
    "<script>window.owned=1</script>",
    "</script><script>window.owned=2</script><img src=x onerror='window.owned=3'>",
    "<svg onload=window.owned=4></svg> <iframe srcdoc='<script>1</script>'></iframe>",
    "\x1b[31mANSI\x1b[0m \x07 bell \u202eleft\u202c zero\u200bwidth \ud83d lone",
    '=HYPERLINK("https://evil.example") | cell | [link](javascript:alert(1)) **bold**',
]


def rows(model: str, score: int) -> list[dict[str, Any]]:
    """A row per hostile text, which stands in the system text and in both earlier turns."""
    return [
        {
            "model": model,
            "scorer": "s@1",
            "dimension": "Fairness",
            "subcomponent": "Toxic language",
            "prompt": f"最后一问 {number}",
            "history": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": f"{text} 乙"},
            ],
            "system": f"{text} 丙",
            "response": "答复",
            "score": score,
        }
        for number, text in enumerate(HOSTILE)
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_text(to_jsonl([*rows("a", 1), *rows("b", 3)]), "utf-8")
    return path


def test_the_responses_of_a_report_show_earlier_turns(
    files: Path, page: Page, tmp_path: Path, measured: Any
) -> None:
    source = load_sources(files)[0]
    html = tmp_path / "report.html"
    html.write_text(render_html([measured(source, FLAMES)], [source], FLAMES, "en"), "utf-8")
    page.on("dialog", lambda dialog: pytest.fail("a dialog opened"))
    page.goto(html.as_uri())
    cards = page.locator(".item-card")
    expect(cards).to_have_count(len(HOSTILE))
    first = cards.first.locator("details.before")
    first.locator("summary").click()
    assert first.locator("summary").inner_text() == "Before it (3)"
    assert first.locator(".role").all_inner_texts() == ["System text", "User", "Assistant"]
    assert first.locator(".text").nth(1).inner_text() == HOSTILE[0]
    assert page.locator(".failure details.before").count() == 1
    for fold in page.locator("details.before").all():
        fold.evaluate("node => { node.open = true }")
    assert page.evaluate("window.owned") is None
    assert page.locator(".before :is(script, img, svg, iframe, style, base)").count() == 0
    assert overflow(page) <= 0
    page.get_by_role("searchbox").fill("HYPERLINK")
    expect(cards).to_have_count(1)


def test_a_changed_answer_is_shown_with_what_came_before(
    files: Path, page: Page, tmp_path: Path
) -> None:
    comparison = compare(load_sources(files), resamples=50)
    [pair] = comparison.pairs
    assert [role for role, _ in pair.changes[0].before] == ["system", "user", "assistant"]
    html = tmp_path / "compare.html"
    html.write_text(render_comparison(comparison, "zh"), "utf-8")
    page.goto(html.as_uri())
    change = page.locator(".compare-change").first
    change.locator("summary").click()
    assert "系统提示词" in change.inner_text()
    assert page.evaluate("window.owned") is None
    assert "window.owned" in visible_text(page)
    console = Console(file=io.StringIO(), width=120, record=True)
    print_comparison(comparison, console, "en", changes=20)
    terminal = console.export_text()
    markdown = render_markdown(comparison, "en", changes=20)
    for text in (terminal, markdown):
        assert "Assistant: " in text
        assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(text)
    assert "<script>" not in markdown
