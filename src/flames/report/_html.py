"""The report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from flames.leaderboard.published import LATEST, published
from flames.metrics.ppi import Correction
from flames.metrics.result import Estimate, Result
from flames.report import _view as view
from flames.report._browser import browser_data
from flames.report._human import HumanRow, agreement, human_rows, label_lines
from flames.report._view import Row, Words
from flames.report.charts import Radar, radar
from flames.report.page import LANGUAGES, load_strings, render_page
from flames.sources import Source
from flames.taxonomy import Language, Taxonomy, Text

_CHOSEN = ("ChatGPT", "GPT-4", "Claude")


@dataclass(frozen=True)
class Section:
    """One result as the template shows it."""

    result: Result
    dimensions: list[Row]
    techniques: list[Row]
    missing: list[Text]
    present: int
    scale: list[int]
    levels: list[tuple[str, Text]]
    radar: Radar | None
    others: list[tuple[str, float | None, list[float]]]
    axes: list[Text]
    own: list[Estimate]
    published_n: int
    methods: list[Text]
    human: list[HumanRow]
    labels: list[Text]


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
    model = one.model if one else ""
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
        scripts=("report.js",),
        data=browser_data(sources, taxonomy) if sources else None,
        sections=[
            _section(result, correction, taxonomy)
            for result, correction in zip_longest(results, corrections)
        ],
        overview=view.measured_dimensions(results, taxonomy),
        has_responses=bool(sources),
        release=LATEST,
        chosen=_CHOSEN,
        tone=view.tone,
        reason_text=view.reason_text,
        percent=view.percent,
        bounds_text=view.bounds,
        agreement=agreement,
        rate=view.rate,
        score=view.score,
        interval=view.interval,
    )


def _section(result: Result, correction: Correction | None, taxonomy: Taxonomy) -> Section:
    rows = view.dimension_rows(result, taxonomy)
    axes = [
        (row.name, row.label, row.group.harmless_rate)
        for row in rows
        if row.kind == "dimension" and row.group.harmless_rate is not None
    ]
    names = [name for name, _, _ in axes]
    own = [estimate for _, _, estimate in axes if estimate is not None]
    labels = [label for _, label, _ in axes]
    published, n = _published(names)
    levels = view.levels_of(rows, taxonomy)
    missing = [found.label for found in view.missing_dimensions(result, taxonomy)]
    return Section(
        result=result,
        dimensions=rows,
        techniques=view.technique_rows(result),
        missing=missing,
        present=len(taxonomy.dimensions) - len(missing),
        scale=[int(value) for value, _ in levels],
        levels=levels,
        radar=radar(labels, [(result.model, own)], [(name, rates) for name, _, rates in published]),
        others=published,
        axes=labels,
        own=own,
        published_n=n,
        methods=[view.method_text(name) for name in view.methods(result)],
        human=human_rows(correction, taxonomy) if correction else [],
        labels=_label_texts(correction) if correction else [],
    )


def _label_texts(correction: Correction) -> list[Text]:
    lines = (label_lines(correction, Words(lang)) for lang in LANGUAGES)
    return [Text(zh=zh, en=en) for zh, en in zip(*lines, strict=True)]


def _published(
    dimensions: Sequence[str],
) -> tuple[list[tuple[str, float | None, list[float]]], int]:
    """Published models with their overall rate and one a dimension, best first; and their n."""
    by_model: dict[str, dict[str, float]] = {}
    sizes: dict[str, int] = {}
    for row in published(LATEST):
        by_model.setdefault(row.model, {})[row.dimension] = row.harmless_rate
        if row.n:
            sizes[row.dimension] = row.n
    if not dimensions or not all(set(dimensions) <= rates.keys() for rates in by_model.values()):
        return [], 0
    models = [
        (model, rates.get("Overall"), [rates[name] for name in dimensions])
        for model, rates in by_model.items()
    ]
    return sorted(models, key=lambda each: -(each[1] or 0)), sum(sizes.values())
