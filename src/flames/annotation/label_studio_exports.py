"""Reads what Label Studio exports: JSON, and its CSV, TSV and JSON-MIN, with one label a row.

Sources: https://labelstud.io/guide/task_format and https://labelstud.io/guide/export
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from flames.annotation.formats import RawLabel
from flames.annotation.tasks import UNSCORED, Answer
from flames.errors import InputError
from flames.options import listed
from flames.storage.mapping import MISSING, listed_columns, value_at
from flames.storage.unusable import usable
from flames.taxonomy import Taxonomy
from flames.text import shorten

CONTROLS = ("score", "flag", "rationale")
_OF_EXPORTS = frozenset({"annotation_id", "annotator", "lead_time"})
_KINDS = ("choices", "rating", "number")
_HELD = ("choices", "rating", "number", "text")
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_NUMBER_FIRST = re.compile(r"\s*(\d+)(?:[.,]0+)?(?![\d.,]*\d)")
_NUMBER_LAST = re.compile(r"(?<![-.,\d])(\d+)\W*$")


class Submission(NamedTuple):
    """What one person submitted for a task; `at` orders submissions, `label` is None if empty."""

    label: RawLabel | None
    at: Any


def is_task(fields: Mapping[str, Any]) -> bool:
    """Returns whether a row is a task of Label Studio's JSON export."""
    return isinstance(fields.get("data"), dict)


def is_export_row(fields: Mapping[str, Any]) -> bool:
    """Returns whether a row is one of Label Studio's CSV, TSV or JSON-MIN exports."""
    return fields.keys() >= _OF_EXPORTS


def read_task(
    task: Mapping[str, Any], mapping: Mapping[str, str], taxonomy: Taxonomy
) -> tuple[dict[str, Any], list[Submission]]:
    """Returns what a task of the JSON export shows, and what was submitted for it.

    `mapping` names columns of its data (`text` or `data.text`), and of its controls for `score`,
    `flag` and `rationale`.
    """
    task = usable(task, ())
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        raise InputError("needs `annotations`, as in Label Studio's JSON export")
    names = {name: mapping.get(name, name) for name in CONTROLS}
    data = _mapped(task["data"], mapping, task)
    return data, [_submission(each, names, taxonomy) for each in annotations]


def _mapped(
    data: Mapping[str, Any], mapping: Mapping[str, str], task: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the data of a task with our names for its columns, `text` or `data.text`."""
    mapped = dict(data)
    for field in mapping.keys() - set(CONTROLS):
        found = [value_at(data, mapping[field]), value_at(task, mapping[field])]
        found = [value for value in found if value is not MISSING]
        if not found:
            what = f"no column {mapping[field]!r} (--map {field}={mapping[field]})"
            raise InputError(f"{what}; columns: {listed_columns(data, 40)}")
        mapped[field] = found[0]
    return mapped


def _submission(annotation: Any, names: Mapping[str, str], taxonomy: Taxonomy) -> Submission:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
        raise InputError("contains an annotation without `result`")
    results = [each for each in annotation.get("result", []) if isinstance(each, dict)]
    meta = next((m for r in results if isinstance(m := r.get("meta"), dict)), {})
    by_control = {each.get("from_name"): _value(each) for each in results}
    values = {name: by_control.get(control, {}) for name, control in names.items()}
    if names["score"] not in by_control:
        values["score"] = _only_choice(results, names)
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    label = _label(values, bool(annotation.get("was_cancelled")), taxonomy)
    at = annotation.get("updated_at") or annotation.get("created_at")
    if label is not None:
        label = label._replace(
            annotator=meta.get("annotator") or _name(by),
            labelled_at=meta.get("labelled_at") or annotation.get("created_at"),
            seconds=meta.get("seconds", annotation.get("lead_time")),
        )
    return Submission(label, at)


def _value(result: Mapping[str, Any]) -> dict[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _only_choice(results: list[dict[str, Any]], names: Mapping[str, str]) -> dict[str, Any]:
    """Returns the value of the only choice or rating there is, whatever its control is called."""
    others = [
        each
        for each in results
        if each.get("type") in _KINDS and each.get("from_name") not in names.values()
    ]
    if len(others) > 1:
        controls = listed(each.get("from_name") for each in others)
        raise InputError(f"has choices in {controls}; --map score=NAME says which is the score")
    return _value(others[0]) if others else {}


def _label(values: Mapping[str, Any], cancelled: bool, taxonomy: Taxonomy) -> RawLabel | None:
    """Returns a label from the values of the three controls; None if nothing was submitted."""
    rationale = "\n".join(_entries(values["rationale"]))
    flags = _entries(values["flag"])
    answer: Answer | None = "skip" if cancelled else None
    if answer is None and flags:
        if flags[0] not in UNSCORED:
            raise InputError(f"must be {listed(UNSCORED)}, got {flags[0]!r}", field="flag")
        answer = UNSCORED[flags[0]]
    if answer is not None:
        return RawLabel(None, answer, None, rationale)
    chosen = _entries(values["score"])
    if len(chosen) > 1:
        raise InputError(f"has several choices: {listed(chosen, 'and')}", field="score")
    if chosen:
        return RawLabel(None, "label", read_score(chosen[0], taxonomy), rationale)
    if rationale:
        raise InputError("contains an annotation with a rationale, but neither a score nor a flag")
    return None


def _entries(value: Any) -> list[str]:
    """Returns what a control holds: `{"choices": ["3"]}`, `[{"rating": 3}]`, `"3"`, …."""
    if isinstance(value, dict):
        value = next((value[kind] for kind in _HELD if value.get(kind) is not None), None)
    if isinstance(value, list):
        return [entry for each in value for entry in _entries(each)]
    return [str(value)] if value is not None and str(value).strip() else []


def read_score(chosen: str, taxonomy: Taxonomy) -> int:
    """Reads a choice such as `3`, `3 - harmless`, `无害` or `Harmless (3)`."""
    number = _NUMBER_FIRST.match(chosen) or _NUMBER_LAST.search(chosen)
    by_number = int(number[1]) if number else None
    by_name = taxonomy.score_named(chosen) or taxonomy.score_named(_AROUND.sub("", chosen))
    if by_number is not None and by_name not in (None, by_number):
        raise InputError(f"says {by_number} and the name of {by_name}: {chosen!r}", field="score")
    score = by_number if by_name is None else by_name
    if score is None:
        names = [f"{each.score} {each.name.zh} {each.name.en}" for each in taxonomy.levels]
        what = f"a score or its name ({', '.join(names)})" if names else "a score"
        raise InputError(f"must be {what}, got {shorten(chosen, 40)!r}", field="score")
    return score


def read_export_row(
    row: Mapping[str, Any], mapping: Mapping[str, str], taxonomy: Taxonomy
) -> tuple[dict[str, Any], Submission]:
    """Returns what a row of a CSV, TSV or JSON-MIN export shows, and what was submitted.

    A control without a value is missing there.
    """
    row = usable(row, row)
    fields = _mapped(row, mapping, {"data": row})
    controls = {name: value_at(row, mapping.get(name, name)) for name in CONTROLS}
    values = {n: _unpacked(None if v is MISSING else v) for n, v in controls.items()}
    label = _label(values, False, taxonomy)
    at = row.get("updated_at") or row.get("created_at")
    if label is not None:
        label = label._replace(
            annotator=_name(row.get("annotator")),
            labelled_at=row.get("created_at"),
            seconds=row.get("lead_time"),
        )
    return fields, Submission(label, at)


def lacks_score(row: Mapping[str, Any], mapping: Mapping[str, str]) -> bool:
    """Tells whether a row has an annotation, and none of the columns that we read labels from."""
    names = {mapping.get(name, name) for name in CONTROLS}
    return row.get("annotation_id") not in (None, "") and not names & row.keys()


def _unpacked(value: Any) -> Any:
    """Returns the objects that a cell holds as JSON, where it is more than one text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(ValueError):
            held = json.loads(value)
            inner = held[0] if isinstance(held, list) and held else held
            if isinstance(inner, dict) and inner.keys() & set(_HELD):
                return held
    return value


def _name(by: Any) -> str | None:
    return str(by).strip() or None if by is not None else None
