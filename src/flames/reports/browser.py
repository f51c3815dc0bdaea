"""The responses behind a page's figures: what `report.js` shows, searches and filters.

Few of them stand in the page's data as they are. Of many, only what is filtered by does; the
texts follow in blocks, packed, which the page opens one at a time.
"""

from __future__ import annotations

import base64
import json
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from flames.metrics.source import Source
from flames.records import Response, Verdict
from flames.reports import view
from flames.reports.page import script_json
from flames.reports.words import name_of
from flames.taxonomy import Taxonomy, Text

PACKED_ABOVE = 20_000
"""So many responses stand in the page's data; more of them are packed."""

_BLOCK = 500
_T = TypeVar("_T")


class Browser:
    """The data of `report.js`; a response judged by several scorers is listed once."""

    def __init__(self, sources: Sequence[Source], names: Sequence[str], taxonomy: Taxonomy) -> None:
        self._sources, self._names, self._taxonomy = sources, names, taxonomy
        self._models: dict[str, int] = {}
        self._scorers: dict[str, int] = {}
        self._reasons: dict[str, int] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._techniques: dict[str, int] = {"": 0}
        self._statuses: dict[str, int] = {}
        self._verdicts: dict[str, int] = {}  # what verdicts say, as JSON
        self._columns = {name: array("I") for name in ("m", "d", "t", "st", "v")}
        self.packed = sum(len(source.verdicts) for source in sources) > PACKED_ABOVE

    def blocks(self) -> Iterator[str]:
        """Yields the packed texts, each block the content of an element; nothing for few rows."""
        if not self.packed:
            return
        rows: list[dict[str, Any]] = []
        for row in self._rows():
            rows.append(row)
            if len(rows) == _BLOCK:
                yield self._block(rows)
                rows = []
        if rows:
            yield self._block(rows)

    def data(self, failures: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Returns the page's data, after the blocks; `failures` has rows of each source."""
        rows = self._filtered_by() if self.packed else _with_prompts(list(self._rows()))
        chosen = [
            [self._row(source, name, source.verdicts[row]) for row in own]
            for source, name, own in zip(self._sources, self._names, failures, strict=True)
        ]
        return {**rows, "failures": chosen, **self._names_of()}

    def _filtered_by(self) -> dict[str, Any]:
        return {
            "columns": {name: column.tolist() for name, column in self._columns.items()},
            "verdicts": [json.loads(text) for text in self._verdicts],
            "statuses": list(self._statuses),
            "techniqueNames": list(self._techniques),
            "block": _BLOCK,
        }

    def _names_of(self) -> dict[str, Any]:
        dimensions = dict.fromkeys(name for name, _ in self._places)
        taxonomy = self._taxonomy
        return {
            "models": list(self._models),
            "scorers": list(self._scorers),
            "reasons": [_pair(name_of("reason", reason)) for reason in self._reasons],
            "places": [
                [name, part, _pair(view.part_label(taxonomy, name, part)) if part else None]
                for name, part in self._places
            ],
            "dimensions": {
                name: {
                    "label": _pair(view.dimension_label(taxonomy, name)),
                    "scale": list(
                        found.scale if (found := view.dimension_of(taxonomy, name)) else ()
                    ),
                }
                for name in dimensions
            },
            "techniques": {
                name: _pair(name_of("technique", name)) for name in self._techniques if name
            },
            "levels": {str(each.score): [each.name.zh, each.name.en] for each in taxonomy.levels},
        }

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yields a row per response, in the order of the sources."""
        listed = [bytearray(len(source.verdicts)) for source in self._sources]
        rows_of: dict[int, Callable[[Verdict], int | None]] = {}
        for number, (source, name) in enumerate(zip(self._sources, self._names, strict=True)):
            later = [
                other
                for other in range(number + 1, len(self._sources))
                if self._names[other] == name
            ]
            for other in later:
                rows_of.setdefault(other, _finder(self._sources[other]))
            for position, verdict in enumerate(source.verdicts):
                if listed[number][position]:
                    continue
                row = self._row(source, name, verdict)
                for other in later:
                    found = rows_of[other](verdict)
                    if found is None or listed[other][found]:
                        continue
                    same = self._row(
                        self._sources[other], name, self._sources[other].verdicts[found]
                    )
                    if (same["p"], same.get("r")) == (row["p"], row.get("r")):
                        row["v"] += same["v"]
                        listed[other][found] = 1
                yield row

    def _row(self, source: Source, name: str, verdict: Verdict) -> dict[str, Any]:
        response = source.response_to(verdict)
        text = source.prompt_text(verdict)
        if text is None:
            texts = (other.prompts.get(verdict.prompt_id) for other in self._sources)
            text = next((each.text for each in texts if each is not None), None)
        before = self._before(source, verdict, response)
        row: dict[str, Any] = {
            "m": _index(self._models, name),
            "p": (verdict.prompt_id, text, before) if before else (verdict.prompt_id, text),
            "d": _index(self._places, (verdict.dimension, verdict.subcomponent or "")),
            "s": verdict.sample,
            "st": verdict.status or (response.status if response else None),
            "v": [self._judged(verdict, source.scorer)],
        }
        if verdict.technique:
            row["t"] = verdict.technique
            _index(self._techniques, verdict.technique)
        return row | _texts(response)

    def _before(
        self, source: Source, verdict: Verdict, response: Response | None
    ) -> tuple[tuple[str, str], ...]:
        """Returns role and text of what came before the prompt."""
        if response is not None:
            return response.asked.before
        known = source.prompts.get(verdict.prompt_id)
        return known.asked.before if known else ()

    def _judged(self, verdict: Verdict, scorer: str) -> dict[str, Any]:
        said: dict[str, Any] = {"k": _index(self._scorers, scorer)}
        if verdict.score is None:
            said["u"] = _index(self._reasons, verdict.unscored or "no score")
        else:
            said["x"] = verdict.score
            probability = (verdict.probabilities or {}).get(str(verdict.score))
            if probability is not None:
                said["p"] = round(probability, 3)
        if verdict.rationale:
            said["why"] = verdict.rationale
        return said

    def _block(self, rows: list[dict[str, Any]]) -> str:
        for row in rows:
            said = [{key: each[key] for key in "kxu" if key in each} for each in row["v"]]
            codes = {
                "m": row["m"],
                "d": row["d"],
                "t": _index(self._techniques, row.get("t", "")),
                "st": _index(self._statuses, row["st"] or ""),
                "v": _index(self._verdicts, json.dumps(said)),
            }
            for name, code in codes.items():
                self._columns[name].append(code)
        packed = zlib.compress(script_json(_with_prompts(rows)).encode(), 5)
        return base64.b64encode(packed).decode("ascii")


def _with_prompts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Puts each prompt, which several rows may have, once beside the rows."""
    prompts: dict[tuple[Any, ...], int] = {}
    for row in rows:
        row["p"] = _index(prompts, row["p"])
    return {"prompts": [list(prompt) for prompt in prompts], "rows": rows}


def _texts(response: Response | None) -> dict[str, str]:
    if response is None:
        return {}
    carried = {"r": response.response, "th": response.reasoning, "e": response.error}
    # Lines of foreign files may carry anything under these names.
    return {name: text for name, text in carried.items() if isinstance(text, str) and text}


def _finder(source: Source) -> Callable[[Verdict], int | None]:
    rows = {verdict.key: row for row, verdict in enumerate(source.verdicts)}
    return lambda verdict: rows.get(verdict.key)


def _index(values: dict[_T, int], value: _T) -> int:
    return values.setdefault(value, len(values))


def _pair(text: Text) -> list[str]:
    return [text.zh, text.en]
