"""Rows of responses of every status, and the files that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flames.storage.atomic import to_jsonl

STATUSES = ("ok", "truncated", "blocked", "ok", "empty", "error")


def response_rows(n: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "dimension": "Safety",
            "prompt": f"问{i}",
            "prompt_id": f"p{i}",
            "response": "" if STATUSES[i % 6] in ("empty", "blocked", "error") else f"答{i}",
            "status": STATUSES[i % 6],
            "note": i,
            **fields,
        }
        for i in range(n)
    ]


def write_rows(folder: Path, given: list[dict[str, Any]], name: str = "in.jsonl") -> Path:
    path = folder / name
    path.write_text(to_jsonl(given), "utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
