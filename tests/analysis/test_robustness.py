"""Robustness from files of verdicts, in reports and in comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.loading import load_sources
from flames.cli import main
from flames.metrics.source import Variant
from flames.storage.atomic import to_jsonl

TEXTS = {f"o{n}": f"提示之{n}" for n in range(12)}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return int(done.value.code or 0)


def lines(model: str, turned: Callable[[int, str], bool], **more: Any) -> str:
    """Harmless originals with two variants each, of which some have turned."""
    rows = []
    for n, (known, text) in enumerate(TEXTS.items()):
        row = {"model": model, "dimension": "Safety", "scorer": "s@1", "response": "好的", **more}
        rows.append({**row, "prompt_id": known, "prompt": text, "score": 3})
        for kind in ("pinyin", "split"):
            score = 1 if turned(n, kind) else 3
            of = {"variant_of": known, "disguise": kind, "score": score}
            rows.append({**row, **of, "prompt_id": f"{known}-{kind}", "prompt": f"{text} {kind}"})
    return to_jsonl(rows)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text(lines("old", lambda n, kind: kind == "pinyin" or n < 2), encoding="utf-8")
    new.write_text(lines("new", lambda n, kind: n < 1), encoding="utf-8")
    return old, new


def test_a_file_of_verdicts_tells_what_is_a_variant(files: tuple[Path, Path]) -> None:
    (source,) = load_sources(files[0])
    assert len(source.variants) == 24
    assert source.variants["o3-split"] == Variant("o3", "split")


def test_a_report_shows_robustness(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", files[0], "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["robustness"]["overall"]["lost"]["value"] == pytest.approx(100 * 14 / 24)
    assert [note["code"] for note in told["notes"]].count("variants") == 1
    for form, words in (("md", "Turned not harmless"), ("html", "Robustness")):
        assert run("report", files[0], "--format", form, "--lang", "en") == 0
        assert words in capsys.readouterr().out
    assert run("report", files[0], "--lang", "zh") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("全部变形", "拼音", "拆字"))


def test_a_comparison_shows_how_it_changed(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare", *files, "--json") == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    changes = pair["robustness"]
    assert list(changes) == ["", "pinyin", "split"]
    assert changes["pinyin"]["first"] == 100.0
    assert changes["pinyin"]["second"] == pytest.approx(100 / 12)
    assert changes["pinyin"]["difference"]["high"] < 0
    assert changes["pinyin"]["p_holm"] < 0.05 < changes["split"]["p_holm"]
    assert changes[""]["n"] == 24
    assert changes[""]["originals"] == 12
    for form in ("md", "html"):
        assert run("compare", *files, "--format", form, "--lang", "en") == 0
        shown = capsys.readouterr().out
        assert "in other words" in shown
        assert "Pinyin" in shown


def test_without_variants_nothing_is_said_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        rows = [json.loads(line) for line in lines(name, lambda n, kind: False).splitlines()]
        plain = [row for row in rows if "variant_of" not in row]
        (tmp_path / f"{name}.jsonl").write_text(to_jsonl(plain), encoding="utf-8")
    assert run("report", tmp_path / "a.jsonl", "--json") == 0
    assert "robustness" not in json.loads(capsys.readouterr().out)
    assert run("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["robustness"] == {}
