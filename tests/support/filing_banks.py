"""Synthetic banks of a filing, complete or with known gaps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flames.filing.rules import BankName, bundled_rules

RULES = bundled_rules()


def text_of(*parts: object) -> str:
    """A text that is like no other: its characters are drawn from a hash of its parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    body = "".join(
        chr(0x4E00 + a * 64 + b) for a, b in zip(digest[:12], digest[12:24], strict=True)
    )
    return f"{body}？"


def rows_of(
    bank: BankName, more: Mapping[str, int] | None = None, **fields: Any
) -> list[dict[str, Any]]:
    """As many rows of each class as are asked for, and so many more (or fewer) in some."""
    rows = []
    for code, asked in RULES.covered(bank).items():
        for number in range(asked + (more or {}).get(code, 0)):
            kind = "关键词" if bank == "keywords" else "测试题"
            rows.append(
                {
                    kind: text_of(bank, code, number).rstrip("？" if kind == "关键词" else ""),
                    "一级分类": RULES.group_of[code].name.zh,
                    "二级分类": RULES.classes[code].name.zh,
                    **fields,
                }
            )
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path
