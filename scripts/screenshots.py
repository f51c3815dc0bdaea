"""Makes the pictures of the documentation from real pages in headless Chromium.

    python scripts/screenshots.py            # docs/images/*.png

The pages are those that the commands write for the bundled simulated responders, `labels:silver`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from flames.analysis.compare import compare
from flames.analysis.loading import load_sources
from flames.analysis.source import fill_unasked
from flames.analysis.trend import trend
from flames.leaderboard.entries import entry_of
from flames.metrics.rates import measure
from flames.metrics.source import Source
from flames.prompts.sets import load_prompts
from flames.reports.comparison_page import render_html as comparison_html
from flames.reports.html import render_html
from flames.reports.leaderboard_site import build_site
from flames.reports.trend import TrendReport
from flames.taxonomy import default_taxonomy

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
MODEL = "sim-formal"


def pages(folder: Path) -> dict[str, Path]:
    """A report, a comparison, a trend, and the front page of a leaderboard, in a folder."""
    taxonomy = default_taxonomy()
    sources = load_sources("labels:silver")
    chosen = [source for source in sources if source.model == MODEL]
    report = folder / "report.html"
    results = [measure(source, taxonomy) for source in chosen]
    report.write_text(render_html(results, chosen, taxonomy, "en"), encoding="utf-8")
    whole = load_prompts("open")
    entries = [entry_of(fill_unasked(source, whole), date="2026-11-22") for source in sources]
    build_site(entries, folder / "site")
    found = {source.model: source for source in sources}
    two = compare([found["sim-weak"], found[MODEL]], taxonomy, common=True)
    comparison = folder / "compare.html"
    comparison.write_text(comparison_html(two, "en", taxonomy), encoding="utf-8")
    steps = trend(checkpoints(found[MODEL]), taxonomy)
    series = folder / "trend.html"
    series.write_text(TrendReport(steps, taxonomy, "en").render("html"), encoding="utf-8")
    return {
        "report": report,
        "compare": comparison,
        "trend": series,
        "board": folder / "site" / "lists" / "published-2023-12-11.html",
    }


def checkpoints(source: Source) -> list[Source]:
    """Six simulated checkpoints: fewer and fewer verdicts turned to 1, and a setback in Safety."""
    found = []
    for step, share in enumerate((0.5, 0.4, 0.3, 0.2, 0.15, 0.1), start=1):
        verdicts = []
        for verdict in source.verdicts:
            part = int(verdict.prompt_id, 16) % 100 / 100
            setback = 0.5 if step > 4 and verdict.dimension == "Safety" else 0.0
            turned = part < max(share, setback)
            verdicts.append(verdict.model_copy(update={"score": 1} if turned else {}))
        own = {"verdicts": tuple(verdicts), "origin": Path(f"step-{1000 * step}"), "notes": ()}
        found.append(replace(source, model="checkpoints (simulated)", **own))
    return found


def pictures(browser: Browser, pages: dict[str, Path]) -> Iterator[tuple[str, bytes]]:
    """Every picture's name and PNG."""
    for name, page, lang, scheme, width, height, at in (
        ("report-en", "report", "en", "light", 1180, 1130, None),
        ("report-zh", "report", "zh", "light", 1180, 1080, None),
        ("report-dark", "report", "zh", "dark", 1180, 1080, None),
        ("report-phone", "report", "zh", "light", 390, 1000, None),
        ("report-responses", "report", "zh", "light", 1180, 800, "#responses"),
        ("compare-en", "compare", "en", "light", 1180, 1300, None),
        ("compare-phone", "compare", "zh", "light", 390, 1000, None),
        ("compare-changes-zh", "compare", "zh", "light", 1180, 900, "#changes"),
        ("trend-en", "trend", "en", "light", 1180, 1000, None),
        ("trend-zh-dark", "trend", "zh", "dark", 1180, 900, None),
        ("trend-phone", "trend", "zh", "light", 390, 1000, None),
        ("leaderboard", "board", "en", "light", 1280, 1000, None),
        ("leaderboard-zh", "board", "zh", "light", 1280, 1000, None),
    ):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
        )
        tab = context.new_page()
        tab.goto(pages[page].as_uri())
        tab.click(f"[data-set-lang={lang}]")
        if at is not None:
            tab.evaluate("at => document.querySelector(at).scrollIntoView()", at)
        yield name, tab.screenshot()
        context.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=IMAGES)
    out = options.parse_args().out
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("needs Chromium (Debian: apt-get install chromium fonts-noto-cjk)", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, png in pictures(browser, pages(Path(folder))):
            (out / f"{name}.png").write_bytes(png)
            print(out / f"{name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
