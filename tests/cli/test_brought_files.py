"""Files as people bring them, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Flames = Callable[..., tuple[int, str, str]]


def test_a_dotted_column_reaches_into_objects(flames: Flames, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"data": {"q": "怎么办", "a": "请报警"}, "labels": {"dim": "安全", "score": 3}}
    path.write_text(json.dumps(row) + "\n", "utf-8")
    mapping = "prompt=data.q,response=data.a,dimension=labels.dim,score=labels.score"
    code, out, err = flames("report", path, "--map", mapping, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["overall"]["coverage"]["scored"] == 1
    code, out, err = flames("report", path, "--map", "prompt=data.question")
    assert (code, out) == (2, "")
    assert "no column 'data.question'" in err
