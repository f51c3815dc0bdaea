"""The page of comparisons: verdicts, tables, and the prompts that changed as its data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any
from urllib.parse import urlencode

from flames.analysis.comparison import SHOWN, Change, Comparison, PairComparison
from flames.reports.comparison import (
    by_scorer,
    left_out,
    notes_of,
    p_value,
    part_rows,
    parts_of,
    tests_of,
    title_of,
    verdict_of,
)
from flames.reports.page import render_page
from flames.reports.robustness import change_table
from flames.reports.tables import Number
from flames.reports.view import part_label
from flames.reports.word_diff import word_diff
from flames.reports.words import name_of
from flames.taxonomy import Language, Taxonomy, Text, default_taxonomy


def render_html(
    comparison: Comparison,
    lang: Language = "zh",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = SHOWN,
) -> str:
    """Returns the page; `changes` is the total of changed prompts, at least 10 per pair."""
    taxonomy = taxonomy or default_taxonomy()
    places = {id(pair): place for place, pair in enumerate(comparison.pairs, 1)}
    most = comparison.room(changes)
    return render_page(
        "compare.html.jinja",
        title=title_of(comparison),
        lang=lang,
        styles=("charts.css", "report.css", "compare.css"),
        scripts=("compare.js",),
        data=_data(comparison, taxonomy, most),
        comparison=comparison,
        notes=notes_of(comparison),
        taxonomy=taxonomy,
        place_of=lambda pair: places[id(pair)],
        matrix={(pair.first, pair.second): pair for pair in comparison.pairs},
        verdict=lambda pair: verdict_of(pair, taxonomy),
        parts=lambda pair: parts_of(pair, taxonomy),
        scorers=by_scorer(comparison, taxonomy) if len(comparison.groups) > 1 else None,
        part_rows=lambda pair, key: part_rows(pair, taxonomy, key),
        robustness=lambda pair: change_table(pair.robustness, pair.first, pair.second),
        number=Number,
        p_value=p_value,
        left_out=left_out,
        find=lambda pair, **want: "#changes?" + urlencode({"pair": places[id(pair)] - 1} | want),
        tests_of=tests_of,
        most=most,
    )


def _data(comparison: Comparison, taxonomy: Taxonomy, most: int) -> dict[str, Any]:
    """Returns what `compare.js` shows: every changed prompt once, its texts in pieces."""
    shown = [change for pair in comparison.pairs for change in pair.changes[:most]]
    parts = dict.fromkeys((c.dimension, c.subcomponent) for c in shown if c.subcomponent)
    techniques = dict.fromkeys(c.technique for c in shown if c.technique)
    return {
        "pairs": [[pair.first, pair.second] for pair in comparison.pairs],
        "dimensions": {
            d.name: {"label": _pair(d.label), "scale": list(d.scale)}
            for d in taxonomy.dimensions
            if any(c.dimension == d.name for c in shown)
        },
        "parts": [[d, part, _pair(part_label(taxonomy, d, part))] for d, part in parts],
        "techniques": {name: _pair(name_of("technique", name)) for name in techniques},
        "changes": [
            _change(place, change)
            for place, pair in enumerate(comparison.pairs)
            for change in pair.changes[:most]
        ],
        "more": _more(comparison.pairs, most),
    }


def _more(pairs: Sequence[PairComparison], most: int) -> int:
    return sum(max(len(pair.changes) - most, 0) for pair in pairs)


def _change(pair: int, change: Change) -> dict[str, Any]:
    row = {
        "p": pair, "i": change.prompt_id, "d": change.dimension, "s": change.subcomponent,
        "t": change.technique, "q": change.prompt, "x": change.scores, "f": round(change.fall, 6),
        "a": _texts(change), "b": change.before or None,
    }  # fmt: skip
    return {name: value for name, value in row.items() if value not in (None, "")}


def _texts(change: Change) -> list[list[list[Any]]]:
    """Returns for each side its texts, each as pieces and the scorer's reason."""
    sides: list[list[list[Any]]] = []
    for own, reasons in zip(change.responses, change.rationales, strict=True):
        sides.append([[[t], r or ""] for t, r in zip_longest(own, reasons[: len(own)])])
    for first, second in zip(*sides, strict=False):
        marked = word_diff(first[0][0], second[0][0])
        if marked is not None:
            first[0], second[0] = marked
    return sides


def _pair(text: Text) -> list[str]:
    return [text.zh, text.en]
