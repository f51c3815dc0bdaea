"""The report as one self-contained page, with the responses as its data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, TypeVar

from flames.analysis.beside import Beside
from flames.leaderboard.published import LATEST, published_results
from flames.metrics.correction import Correction
from flames.metrics.result import Estimate, Result
from flames.metrics.source import Source
from flames.records import Key, Response, Verdict
from flames.reports import view
from flames.reports.beside import NOTHING, scorer_blocks
from flames.reports.charts import radar
from flames.reports.nothing import measured, nothing_of
from flames.reports.page import render_page
from flames.reports.refusals import refusal_lines, refusal_table
from flames.reports.tables import Number
from flames.reports.words import name_of, say
from flames.taxonomy import Language, Taxonomy, Text

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
    one = results[0] if len(results) == 1 else None
    found, empty = measured(results)
    title = say("title", model=one.shown_name) if one else say("title.many", n=len(results))
    return render_page(
        "report.html.jinja",
        title=title,
        lang=lang,
        styles=("charts.css", "report.css"),
        scripts=("radar.js", "report.js"),
        data=browser_data(sources, [r.shown_name for r in results], taxonomy) if sources else None,
        sections=[
            section_of(r, taxonomy, c, beside=beside.results)
            for r, c in zip_longest(results, corrections)
        ],
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
        "refusals": result.refusals and refusal_table(result.refusals, taxonomy),
        "refusal_lines": list(refusal_lines(result.refusals)) if result.refusals else [],
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


def helpers() -> dict[str, Any]:
    """Returns what `result.html.jinja` needs of its context beside the page's own helpers."""
    return {
        "release": LATEST,
        "kind_of": lambda block: type(block).__name__,
        "tone": view.score_tone,
        "reason_text": lambda reason: name_of("reason", reason),
        "percent": view.percent,
        "bounds_text": view.bounds,
        "expected_on": view.expected_on,
        "rate": lambda found, **more: Number(found, 2, 1, **more),
        "score": lambda found, **more: Number(found, **more),
    }


_T = TypeVar("_T")


def _index(values: dict[_T, int], value: _T) -> int:
    return values.setdefault(value, len(values))


def browser_data(
    sources: Sequence[Source], names: Sequence[str], taxonomy: Taxonomy
) -> dict[str, Any]:
    """Returns the data of `report.js`; a response judged by several scorers is listed once."""
    models: dict[str, int] = {}
    scorers: dict[str, int] = {}
    reasons: dict[str, int] = {}
    prompts: dict[tuple[str, str | None], int] = {}
    places: dict[tuple[str, str], int] = {}
    texts = {known: prompt.text for source in sources for known, prompt in source.prompts.items()}
    rows: dict[tuple[str, Key, int, str | None], dict[str, Any]] = {}
    for source, name in zip(sources, names, strict=True):
        for verdict in source.verdicts:
            response = source.responses.get(verdict.key)
            asked = source.prompts.get(verdict.prompt_id)
            text = asked.text if asked else texts.get(verdict.prompt_id)
            prompt = _index(prompts, (verdict.prompt_id, text))
            key = (name, verdict.key, prompt, response.response if response else None)
            row = rows.get(key)
            if row is None:
                row = rows[key] = _row(response, verdict)
                row["m"] = _index(models, name)
                row["p"] = prompt
                row["d"] = _index(places, (verdict.dimension, verdict.subcomponent or ""))
            row["v"].append(_judged(verdict, source.scorer, scorers, reasons))
    return {
        "models": list(models),
        "scorers": list(scorers),
        "reasons": [_pair(name_of("reason", reason)) for reason in reasons],
        "prompts": [list(prompt) for prompt in prompts],
        "places": [
            [name, part, _pair(view.part_label(taxonomy, name, part)) if part else None]
            for name, part in places
        ],
        "dimensions": {
            name: {
                "label": _pair(view.dimension_label(taxonomy, name)),
                "scale": list(found.scale if (found := view.dimension_of(taxonomy, name)) else ()),
            }
            for name, _ in places
        },
        "techniques": {
            name: _pair(name_of("technique", name))
            for name in dict.fromkeys(row["t"] for row in rows.values() if row.get("t"))
        },
        "levels": {str(level.score): [level.name.zh, level.name.en] for level in taxonomy.levels},
        "rows": list(rows.values()),
    }


def _row(response: Response | None, verdict: Verdict) -> dict[str, Any]:
    row: dict[str, Any] = {"s": verdict.sample, "st": verdict.status, "v": []}
    if verdict.technique:
        row["t"] = verdict.technique
    if response is not None:
        row["st"] = verdict.status or response.status
        carried = {"r": response.response, "th": response.reasoning, "e": response.error}
        # Lines of foreign files may carry anything under these names.
        row |= {name: text for name, text in carried.items() if isinstance(text, str) and text}
    return row


def _judged(
    verdict: Verdict, scorer: str, scorers: dict[str, int], reasons: dict[str, int]
) -> dict[str, Any]:
    said: dict[str, Any] = {"k": _index(scorers, scorer)}
    if verdict.score is None:
        said["u"] = _index(reasons, verdict.unscored or "no score")
    else:
        said["x"] = verdict.score
        probability = (verdict.probabilities or {}).get(str(verdict.score))
        if probability is not None:
            said["p"] = round(probability, 3)
    if verdict.rationale:
        said["why"] = verdict.rationale
    return said


def _pair(text: Text) -> list[str]:
    return [text.zh, text.en]
