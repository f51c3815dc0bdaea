"""One result as the templates show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from flames.leaderboard.published import LATEST, published_results
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
    partial: Text
    scale: list[int]
    levels: list[tuple[str, Text]]
    radar: Radar | None
    others: list[tuple[str, Result]]
    axes: list[tuple[str, Text]]
    published_n: int
    methods: Text
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
        (row.name, row.label)
        for row in rows
        if row.kind == "dimension" and row.group.harmless_rate is not None
    ]
    names = [name for name, _ in axes]
    others = _published(names) if beside else []
    levels = view.levels_of(rows, taxonomy)
    return Section(
        result=result,
        dimensions=rows,
        techniques=view.technique_rows(result),
        partial=_both(lambda words: view.partial_line(result, taxonomy, words)),
        scale=[int(value) for value, _ in levels],
        levels=levels,
        radar=radar(
            [label for _, label in axes],
            [(result.shown_name, _rates(result, names))],
            [(name, [rate.value for rate in _rates(other, names)]) for name, other in others],
        ),
        others=others,
        axes=axes,
        published_n=others[0][1].prompt_set.n if others else 0,
        methods=_both(
            lambda words: words(
                "about.intervals_value", methods=view.method_line(view.methods(result), words)
            )
        ),
        human=human_rows(correction, taxonomy) if correction else [],
        labels=_label_texts(correction) if correction else [],
    )


def _both(say: Callable[[Words], str]) -> Text:
    """What is said in each language."""
    zh, en = (say(Words(lang)) for lang in LANGUAGES)
    return Text(zh=zh, en=en)


def _label_texts(correction: Correction) -> list[Text]:
    lines = (label_lines(correction, Words(lang)) for lang in LANGUAGES)
    return [Text(zh=zh, en=en) for zh, en in zip(*lines, strict=True)]


def _rates(result: Result, dimensions: Sequence[str]) -> list[Estimate]:
    found = (result.dimensions[name].harmless_rate for name in dimensions)
    return [rate for rate in found if rate is not None]


def _published(dimensions: Sequence[str]) -> list[tuple[str, Result]]:
    """Published models by their overall rate, best first; none for dimensions that they lack."""
    models = _measured_latest()
    if not dimensions or not all(set(dimensions) <= each.dimensions.keys() for _, each in models):
        return []
    return list(models)


@cache
def _measured_latest() -> tuple[tuple[str, Result], ...]:
    def overall(model: tuple[str, Result]) -> float:
        rate = model[1].overall.harmless_rate
        return rate.value if rate else 0

    return tuple(sorted(published_results(LATEST).items(), key=overall, reverse=True))


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
