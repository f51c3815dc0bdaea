"""The report as one self-contained page, with the responses as its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any
from urllib.parse import quote, urlencode

from flames.analysis.beside import Beside
from flames.leaderboard.published import LATEST, published_results
from flames.metrics.correction import Correction
from flames.metrics.result import Estimate, Result
from flames.metrics.source import Source
from flames.reports import view
from flames.reports.beside import NOTHING, scorer_blocks
from flames.reports.browser import Browser
from flames.reports.charts import radar
from flames.reports.choices import choice_lines, choice_table
from flames.reports.nothing import measured, nothing_of
from flames.reports.page import page_parts
from flames.reports.refusals import refusal_lines, refusal_table
from flames.reports.robustness import robustness_lines, robustness_table
from flames.reports.tables import Number
from flames.reports.words import name_of, say
from flames.reports.worst import blocked_line, clearest_failures, worst_parts
from flames.taxonomy import Language, Taxonomy
from flames.text import utf8_safe

_CHOSEN = ("ChatGPT", "GPT-4", "Claude")


def render_html(
    results: Sequence[Result],
    sources: Sequence[Source],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
) -> str:
    """Returns the whole report as a page, with every response that the sources hold."""
    return "".join(html_parts(results, sources, taxonomy, lang, corrections, beside))


def html_parts(
    results: Sequence[Result],
    sources: Sequence[Source],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction] = (),
    beside: Beside = NOTHING,
) -> Iterator[str]:
    """Yields the page of `render_html` piece by piece: many responses never stand in memory."""
    one = results[0] if len(results) == 1 else None
    found, empty = measured(results)
    browser = Browser(sources, [r.shown_name for r in results][: len(sources)], taxonomy)
    failures = [clearest_failures(source, taxonomy) for source in sources]
    sections = [
        section_of(r, taxonomy, c, beside=beside.results)
        for r, c in zip_longest(results, corrections)
    ]
    for section, rows in zip(sections, failures, strict=False):
        section["failures"] = len(rows)
    return page_parts(
        "report.html.jinja",
        title=say("title", model=one.shown_name) if one else say("title.many", n=len(results)),
        lang=lang,
        styles=("charts.css", "report.css"),
        scripts=("radar.js", "rows.js", "cards.js", "report.js"),
        blocks=browser.blocks() if sources else (),
        data=lambda: browser.data(failures) if sources else None,
        sections=sections,
        beside_notes=[note.words for note in beside.notes],
        scorer_blocks=[b for own in beside.scorers for b in scorer_blocks(own, taxonomy)],
        overview=view.measured_dimensions(found, taxonomy),
        expected=view.has_expected(result.overall for result in results),
        empty=empty,
        has_responses=bool(sources),
        **helpers(),
    )


def section_of(
    result: Result,
    taxonomy: Taxonomy,
    correction: Correction | None = None,
    *,
    published: bool = True,
    beside: Sequence[Result] = (),
) -> dict[str, Any]:
    """Puts a result, with others `beside` it, into the shape of `result.html.jinja`.

    Without others those are published models, if `published`.
    """
    rows = view.dimension_rows(result, taxonomy)
    axes = [
        (row.name, row.label)
        for row in rows
        if row.kind == "dimension" and row.group.harmless_rate is not None
    ]
    names = [name for name, _ in axes]
    others = [(other.shown_name, other) for other in beside if other.scorer == result.scorer]
    others = others or [(other.shown_name, other) for other in beside]
    if not beside and published:
        others = _published(names)
    levels = view.levels_of(rows, taxonomy)
    return {
        "result": result,
        "nothing": nothing_of(result),
        "worst": worst_parts(result, taxonomy),
        "blocked": blocked_line(result),
        "failures": 0,
        "dimensions": rows,
        "techniques": view.technique_rows(result),
        "notes": [view.note_line(note, taxonomy) for note in result.notes],
        "expected": view.has_expected(row.group for row in rows),
        "partial": view.partial_line(result, taxonomy),
        "scale": [int(value) for value, _ in levels],
        "levels": levels,
        "radar": radar(
            [label for _, label in axes],
            [(result.shown_name, _rates(result, names))],
            [
                (name, [rate.value for rate in rates])
                for name, other in others
                if len(rates := _rates(other, names)) == len(names)
            ],
        ),
        "others": others,
        "ours": bool(beside),
        "chosen": [name for name, _ in others][:4] if beside else _CHOSEN,
        "axes": axes,
        "published_n": others[0][1].prompt_set.n if others else 0,
        "methods": say("about.intervals_value", methods=view.method_line(result)),
        "conditions": view.conditions_line(result),
        "choices": result.choices and choice_table(result.choices),
        "choice_lines": list(choice_lines(result.choices)) if result.choices else [],
        "refusals": result.refusals and refusal_table(result.refusals, taxonomy),
        "refusal_lines": list(refusal_lines(result.refusals)) if result.refusals else [],
        "robustness": result.robustness and robustness_table(result.robustness),
        "robustness_lines": list(robustness_lines(result.robustness)) if result.robustness else [],
        "human": view.human_rows(correction, taxonomy) if correction else [],
        "labels": view.label_lines(correction, taxonomy) if correction else [],
    }


def _rates(result: Result, dimensions: Sequence[str]) -> list[Estimate]:
    found = (result.dimensions[name] for name in dimensions if name in result.dimensions)
    return [group.harmless_rate for group in found if group.harmless_rate is not None]


def _published(dimensions: Sequence[str]) -> list[tuple[str, Result]]:
    models = _measured_latest()
    known = all(set(dimensions) <= each.dimensions.keys() for _, each in models)
    return list(models) if dimensions and known else []


@cache
def _measured_latest() -> tuple[tuple[str, Result], ...]:
    def overall(model: tuple[str, Result]) -> float:
        rate = model[1].overall.harmless_rate
        return rate.value if rate else 0

    return tuple(sorted(published_results(LATEST).items(), key=overall, reverse=True))


def finding(**wanted: str) -> str:
    """Returns the address of a filtered list on the page, as `report.js` reads it."""
    given = {name: utf8_safe(value) for name, value in wanted.items() if value}
    return f"#responses?{urlencode(given, quote_via=quote)}"


def helpers() -> dict[str, Any]:
    """Returns what `result.html.jinja` needs of its context beside the page's own helpers."""
    return {
        "release": LATEST,
        "kind_of": lambda block: type(block).__name__,
        "tone": view.score_tone,
        "reason_text": lambda reason: name_of("reason", reason),
        "percent": view.percent,
        "finding": finding,
        "bounds_text": view.bounds,
        "expected_on": view.expected_on,
        "rate": lambda found, **more: Number(found, 2, 1, **more),
        "score": lambda found, **more: Number(found, **more),
    }
