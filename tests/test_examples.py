"""The notebooks of `examples/`, run from top to bottom without a network."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "compare_checkpoints", "label_and_correct", "measure_a_function",
    ]  # fmt: skip


def _run(code: str, names: dict[str, Any]) -> Any:
    """Runs a cell; returns what a notebook would show, the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in ("pandas", "pyarrow"):
        pytest.importorskip(extra)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    book = json.loads(path.read_text("utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    shown = []
    for cell in book["cells"]:
        assert cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # nobody's results are in the repository
            shown.append(_run("".join(cell["source"]), names))
    assert any("<table" in (each or "") for each in shown)
    if path.stem == "label_and_correct":
        corrected = names["overall"].corrected
        assert corrected.low < names["truth"] < corrected.high
    if path.stem == "measure_a_function":
        assert (tmp_path / "assistant.html").exists()
