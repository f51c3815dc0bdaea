"""The report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from flames.metrics.ppi import Correction
from flames.metrics.result import Result
from flames.report import _view as view
from flames.report._browser import browser_data
from flames.report._section import helpers, section_of
from flames.report.page import load_strings, render_page
from flames.sources import Source
from flames.taxonomy import Language, Taxonomy, Text


def render_html(
    results: Sequence[Result],
    sources: Sequence[Source],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction] = (),
) -> str:
    """The whole report as a page, with every response that the sources hold.

    Args:
        results: What was measured, in the sources' order.
        sources: Where the responses are taken from; none leaves the browser out.
        taxonomy: Names and scales.
        lang: The language shown first.
        corrections: With human labels, in the results' order.
    """
    words = load_strings()
    one = results[0] if len(results) == 1 else None
    model = one.shown_name if one else ""
    title = words["title"] if one else words["title.many"]
    title = Text(
        zh=title.zh.format(model=model, n=len(results)),
        en=title.en.format(model=model, n=len(results)),
    )
    return render_page(
        "report.html.jinja",
        title=title,
        lang=lang,
        styles=("charts.css", "report.css"),
        scripts=("radar.js", "report.js"),
        data=browser_data(sources, [r.shown_name for r in results], taxonomy) if sources else None,
        sections=[
            section_of(result, taxonomy, correction)
            for result, correction in zip_longest(results, corrections)
        ],
        overview=view.measured_dimensions(results, taxonomy),
        has_responses=bool(sources),
        **helpers(),
    )
