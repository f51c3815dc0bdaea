"""The responses as the page's data block: texts once, everything else by index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from flames.records import Key, Response, Verdict
from flames.report import _view as view
from flames.sources import Source
from flames.taxonomy import Taxonomy, Text

_T = TypeVar("_T")


class _Table(Generic[_T]):
    """Values in order of appearance, each known by its place."""

    def __init__(self) -> None:
        self._places: dict[_T, int] = {}

    def __call__(self, value: _T) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[_T]:
        return list(self._places)


def browser_data(
    sources: Sequence[Source], names: Sequence[str], taxonomy: Taxonomy
) -> dict[str, Any]:
    """What `report.js` shows, filters and searches.

    A response judged by several scorers stands there once, with all its verdicts; two files'
    different responses to the same prompt stand there both.

    Args:
        sources: Where everything is taken from.
        names: What each source's model is called.
        taxonomy: Names and scales.
    """
    models, scorers, reasons = _Table[str](), _Table[str](), _Table[str]()
    prompts, places = _Table[tuple[str, str | None]](), _Table[tuple[str, str]]()
    texts = {known: prompt.text for source in sources for known, prompt in source.prompts.items()}
    rows: dict[tuple[str, Key, int, str | None], dict[str, Any]] = {}
    for source, name in zip(sources, names, strict=True):
        for verdict in source.verdicts:
            response = source.responses.get(verdict.key)
            asked = source.prompts.get(verdict.prompt_id)
            text = asked.text if asked else texts.get(verdict.prompt_id)
            prompt = prompts((verdict.prompt_id, text))
            key = (name, verdict.key, prompt, response.response if response else None)
            row = rows.get(key)
            if row is None:
                row = rows[key] = _row(response, verdict)
                row["m"] = models(name)
                row["p"] = prompt
                row["d"] = places((verdict.dimension, verdict.subcomponent or ""))
            row["v"].append(_judged(verdict, source.scorer, scorers, reasons))
    return {
        "models": models.values,
        "scorers": scorers.values,
        "reasons": [_pair(view.reason_text(reason)) for reason in reasons.values],
        "prompts": [[known, text] for known, text in prompts.values],
        "places": [_place(taxonomy, *place) for place in places.values],
        "dimensions": {
            name: {
                "label": _pair(label),
                "scale": list(view.scale_of(taxonomy, name, ())),
            }
            for name, label in _dimensions(taxonomy, (name for name, _ in places.values))
        },
        "techniques": {
            name: _pair(view.technique_text(name))
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
    verdict: Verdict, scorer: str, scorers: _Table[str], reasons: _Table[str]
) -> dict[str, Any]:
    said: dict[str, Any] = {"k": scorers(scorer)}
    if verdict.score is None:
        said["u"] = reasons(verdict.unscored or "no score")
    else:
        said["x"] = verdict.score
        probability = (verdict.probabilities or {}).get(str(verdict.score))
        if probability is not None:
            said["p"] = round(probability, 3)
    if verdict.rationale:
        said["why"] = verdict.rationale
    return said


def _place(taxonomy: Taxonomy, name: str, part: str) -> list[Any]:
    dimension = view.dimension_of(taxonomy, name)
    label = view.plain(part)
    for known in dimension.subcomponents if dimension else ():
        if known.name == part:
            label = known.label
    return [name, part, _pair(label) if part else None]


def _dimensions(taxonomy: Taxonomy, names: Iterable[str]) -> list[tuple[str, Text]]:
    known = ((name, view.dimension_of(taxonomy, name)) for name in dict.fromkeys(names))
    return [(name, found.label if found else view.plain(name)) for name, found in known]


def _pair(text: Text) -> list[str]:
    return [text.zh, text.en]
