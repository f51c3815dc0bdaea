from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnxscript", reason="needs the extra train")
pytest.importorskip("onnxruntime", reason="needs the extra cpu")

import tiny_trained

Flames = Callable[..., tuple[int, str, str]]


def test_export_tells_what_it_compared_and_scores(flames: Flames, tmp_path: Path) -> None:
    folder = tiny_trained.scorer(tmp_path / "tiny")
    out = tmp_path / "out"
    code, printed, err = flames(
        "scorer", "export", folder, "--out", out, "--precision", "int8",
        "--labels", "labels:silver", "--skip-incomplete", "--min-agreement", "80",
    )  # fmt: skip
    assert code == 0, err
    assert "openvino int8: " in printed
    assert "labels unchanged" in printed
    assert "self-test: passed, " in printed
    code, printed, _ = flames("scorer", "selftest", out, "--json")
    assert (code, json.loads(printed)["scorer"]) == (0, "tiny@1+int8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "int4"), "--precision takes any of fp32, bf16, int8, not 'int4'"),
        (("--precision", ","), "--precision takes any of"),
        ((), "is no scorer"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(
    flames: Flames, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, _, err = flames("scorer", "export", tmp_path, "--out", tmp_path / "out", *words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
