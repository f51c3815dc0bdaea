"""The report for programs: JSON (the contract, schema 1) and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from flames.metrics.correction import Correction
from flames.metrics.result import Estimate, Group, Result
from flames.storage.atomic import to_csv
from flames.text import for_terminal


def render_json(results: Sequence[Result], corrections: Sequence[Correction] = ()) -> str:
    """One object for one result; `{"schema": 1, "results": […]}` for any other number of them.

    A correction with human labels stands in its result's object under `human`. Characters that
    could steer a terminal are written as escapes.
    """
    objects = [result.to_dict() for result in results]
    for data, correction in zip(objects, corrections, strict=False):
        data["human"] = correction.model_dump()
    whole: Any = objects[0] if len(objects) == 1 else {"schema": 1, "results": objects}
    text = json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    if for_terminal(text, one_line=False) != text:
        text = json.dumps(whole, allow_nan=False, indent=2) + "\n"
    return text


_ESTIMATES = ("harmless_rate", "harmless_score", "attack_success_rate")
CSV_COLUMNS = (
    "model", "scorer", "prompt_set", "prompt_set_sha256", "prompt_set_n", "partial", "level",
    "name", "n", "scored", "unscored", "counts",
    *(f"{name}{part}" for name in _ESTIMATES for part in ("", "_low", "_high", "_method")),
    "harmless_rate_worst", "harmless_rate_best",
)  # fmt: skip


def render_csv(results: Sequence[Result]) -> str:
    """One row for the overall values and one a dimension, subcomponent and technique.

    `counts` and `unscored` read `3: 113; 2: 88; 1: 48` and `blocked: 2; error: 1`. Cells that a
    spreadsheet would take for formulas are neutralised.
    """
    return to_csv((row for result in results for row in csv_rows(result)), CSV_COLUMNS)


def csv_rows(result: Result) -> Iterator[dict[str, Any]]:
    """The rows of one result, cells by column."""
    head = {
        "model": result.shown_name,
        "scorer": result.scorer,
        "prompt_set": result.prompt_set.name,
        "prompt_set_sha256": result.prompt_set.sha256,
        "prompt_set_n": result.prompt_set.n,
        "partial": "true" if result.partial else "false",
    }
    overall, coverage = result.overall, result.overall.coverage
    best = overall.harmless_rate_bounds
    yield {
        **head,
        "level": "overall",
        "name": "overall",
        "n": coverage.prompts,
        "scored": coverage.scored,
        "unscored": _listed(coverage.unscored),
        **_estimates(overall, _ESTIMATES),
        "harmless_rate_worst": best.low if best else None,
        "harmless_rate_best": best.high if best else None,
    }
    for level, groups in (
        ("dimension", result.dimensions),
        ("subcomponent", result.subcomponents),
        ("technique", result.techniques),
    ):
        for name, group in groups.items():
            yield {**head, "level": level, "name": name, **_group(group)}


def _group(group: Group) -> dict[str, Any]:
    best = group.harmless_rate_bounds
    return {
        "n": group.n,
        "scored": group.scored,
        "unscored": _listed(group.unscored),
        "counts": _listed(group.counts),
        **_estimates(group, _ESTIMATES[:2]),
        "harmless_rate_worst": best.low if best else None,
        "harmless_rate_best": best.high if best else None,
    }


def _estimates(holder: object, names: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name in names:
        found: Estimate | None = getattr(holder, name)
        if found is not None:
            cells[name] = found.value
            cells |= {f"{name}_{part}": getattr(found, part) for part in ("low", "high", "method")}
    return cells


def _listed(counts: dict[str, int]) -> str:
    return "; ".join(f"{name}: {count}" for name, count in counts.items())
