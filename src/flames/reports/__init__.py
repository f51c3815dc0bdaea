"""Reports: what was measured, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flames.analysis.source import fill_unasked
from flames.metrics.result import Result
from flames.reports.data import render_csv, render_json
from flames.reports.html import render_html
from flames.reports.markdown import render_markdown
from flames.reports.terminal import print_results
from flames.taxonomy import Language, Taxonomy, default_taxonomy

if TYPE_CHECKING:
    from rich.console import Console

    from flames.analysis.source import Source
    from flames.metrics.correction import Correction
    from flames.storage.run_dir import ReportFormat, RunDir

__all__ = [
    "fill_unasked",
    "print_summary",
    "render_csv",
    "render_html",
    "render_json",
    "render_markdown",
    "write_reports",
]


def print_summary(
    results: Sequence[Result],
    console: Console,
    lang: Language = "en",
    taxonomy: Taxonomy | None = None,
    corrections: Sequence[Correction] = (),
) -> None:
    """Prints results as tables; of several, all of them side by side at the end."""
    print_results(results, console, taxonomy or default_taxonomy(), lang, corrections)


def write_reports(
    run: RunDir,
    sources: Sequence[Source],
    results: Sequence[Result],
    lang: Language = "en",
    taxonomy: Taxonomy | None = None,
    corrections: Sequence[Correction] = (),
) -> list[Path]:
    """Writes a run's report as HTML, Markdown and JSON, each whole or not at all.

    Args:
        run: Where to.
        sources: What was measured, with the responses.
        results: What came out, in the sources' order.
        lang: The language shown first in the page, and of the Markdown.
        taxonomy: Names and scales; Flames' own unless given.
        corrections: With human labels, in the results' order.

    Returns:
        The paths, HTML first.
    """
    from flames.storage.atomic import write_atomic

    taxonomy = taxonomy or default_taxonomy()
    texts: dict[ReportFormat, str] = {
        "html": render_html(results, sources, taxonomy, lang, corrections),
        "md": render_markdown(results, taxonomy, lang, corrections),
        "json": render_json(results, corrections),
    }
    return [write_atomic(run.report_path(form), text) for form, text in texts.items()]
