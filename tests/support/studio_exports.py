"""What Label Studio makes of annotated tasks: the shapes of its exports.

Shapes after its converter: cancelled annotations are left out of CSV, TSV and JSON-MIN, one choice
or one text stands as such, anything else as JSON, objects in the data as JSON, and the annotator is
an address in CSV and a number in JSON-MIN.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

USERS = {1: "mei@example.org", 2: "tom@example.org"}


def choice(value: str, name: str = "score") -> dict[str, Any]:
    """Returns the result of one choice."""
    return {"from_name": name, "to_name": "response", "type": "choices",
            "value": {"choices": [value]}}  # fmt: skip


def text(value: str, name: str = "rationale") -> dict[str, Any]:
    """Returns the result of a text."""
    return {
        "from_name": name,
        "to_name": "response",
        "type": "textarea",
        "value": {"text": [value]},
    }


def annotation(
    number: int, user: int, *results: dict[str, Any], cancelled: bool = False, minute: int = 0
) -> dict[str, Any]:
    """Returns an annotation as a JSON export has it."""
    at = f"2026-11-20T10:{minute:02}:{number % 60:02}.{number:06}Z"
    return {
        "id": number, "completed_by": {"id": user, "email": USERS[user]}, "result": list(results),
        "was_cancelled": cancelled, "ground_truth": False, "created_at": at, "updated_at": at,
        "lead_time": 10.5 + number, "result_count": len(results),
    }  # fmt: skip


def _pretty(values: list[dict[str, Any]]) -> Any:
    plain = []
    for value in values:
        held = value.get("choices") or value.get("text")
        plain.append(held[0] if held and len(held) == 1 else value)
    return plain[0] if len(plain) == 1 and not isinstance(plain[0], int) else plain


def flat_rows(tasks: list[dict[str, Any]], *, as_cells: bool) -> list[dict[str, Any]]:
    """Returns one row for each annotation that was not cancelled."""
    rows = []
    for number, task in enumerate(tasks, start=1):
        for each in reversed(task["annotations"]):
            if each["was_cancelled"]:
                continue
            outputs: dict[str, list[Any]] = {}
            for result in each["result"]:
                outputs.setdefault(result["from_name"], []).append(result["value"])
            pretty = {name: _pretty(values) for name, values in outputs.items()}
            row = {**task["data"], "id": number, **pretty}
            if as_cells:
                row = {
                    name: json.dumps(value, ensure_ascii=False)
                    if isinstance(value, list | dict)
                    else value
                    for name, value in row.items()
                }
            by = each["completed_by"]
            row |= {
                "annotator": by["email"] if as_cells else by["id"], "annotation_id": each["id"],
                "created_at": each["created_at"], "updated_at": each["updated_at"],
                "lead_time": each["lead_time"],
            }  # fmt: skip
            rows.append(row)
    return rows


def table(tasks: list[dict[str, Any]], delimiter: str = ",") -> str:
    """Returns the CSV or TSV export."""
    rows = flat_rows(tasks, as_cells=True)
    file = io.StringIO()
    names = sorted({name for row in rows for name in row})
    writer = csv.DictWriter(file, names, quoting=csv.QUOTE_NONNUMERIC, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


FORMS = {
    "a.json": lambda tasks: json.dumps(tasks, ensure_ascii=False),
    "a.csv": table,
    "a.tsv": lambda tasks: table(tasks, "\t"),
    "min.json": lambda tasks: json.dumps(flat_rows(tasks, as_cells=False), ensure_ascii=False),
}
"""The text of each export, by the name of its file."""
