"""What tests of pages ask a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


def serious(page: Page, *rules: str) -> list[str]:
    """What axe-core calls serious or critical, by these rules or by all of them."""
    axe = pytest.importorskip("axe_core_python.sync_playwright")
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found = axe.Axe().run(page, options=options)["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def visible_text(page: Page) -> str:
    """The page's words as a reader sees them."""
    return str(page.evaluate("document.querySelector('main').innerText"))
