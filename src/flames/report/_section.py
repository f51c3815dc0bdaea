"""One result as the templates show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flames.leaderboard.published import LATEST, published
from flames.metrics.ppi import Correction
from flames.metrics.result import Estimate, Result
from flames.report import _view as view
from flames.report._human import HumanRow, agreement, human_rows, label_lines
from flames.report._view import Row, Words
from flames.report.charts import Radar, radar
from flames.report.page import LANGUAGES
from flames.taxonomy import Taxonomy, Text

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


def section_of(
    result: Result,
    taxonomy: Taxonomy,
    correction: Correction | None = None,
    *,
    beside: bool = True,
) -> Section:
    """Puts a result into the shape of `result.html.jinja`.

    Args:
        result: What was measured.
        taxonomy: Names and scales.
        correction: With human labels.
        beside: Whether published models are offered beside it.
    """
    rows = view.dimension_rows(result, taxonomy)
    axes = [
        (row.name, row.label, row.group.harmless_rate)
        for row in rows
        if row.kind == "dimension" and row.group.harmless_rate is not None
    ]
    names = [name for name, _, _ in axes]
    own = [estimate for _, _, estimate in axes if estimate is not None]
    labels = [label for _, label, _ in axes]
    others, n = _published(names) if beside else ([], 0)
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
        radar=radar(
            labels, [(result.shown_name, own)], [(name, rates) for name, _, rates in others]
        ),
        others=others,
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


def helpers() -> dict[str, Any]:
    """What `result.html.jinja` needs of its context, beside the page's own helpers."""
    return {
        "release": LATEST,
        "chosen": _CHOSEN,
        "tone": view.tone,
        "note_text": view.note_text,
        "reason_text": view.reason_text,
        "percent": view.percent,
        "bounds_text": view.bounds,
        "agreement": agreement,
        "rate": view.rate,
        "score": view.score,
        "interval": view.interval,
    }
