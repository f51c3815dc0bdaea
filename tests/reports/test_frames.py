"""Every table of a report is a DataFrame, with numbers in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import flames
from flames.errors import UsageError
from flames.models.prices import load_prices
from flames.reports.frames import to_frames
from flames.reports.models import prices_document
from flames.reports.scorers import spending_document
from flames.reports.words import say

pytest.importorskip("pandas")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for name, harmless in (("a", 15), ("b", 8)):
        rows = [
            {"prompt_id": f"{dimension}{n}", "dimension": dimension, "model": name,
             "scorer": "s@1", "score": 3 if n < harmless else 1}
            for dimension in ("Fairness", "Safety", "Morality", "Legality", "Data protection")
            for n in range(20)
        ]  # fmt: skip
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return paths


def test_the_tables_of_a_report(files: list[Path]) -> None:
    found = flames.report(files[0], lang="en")
    frames = to_frames(found)
    title = str(say("dimensions")("en"))
    dimensions = frames[title]
    assert dimensions["name"].tolist()[:1] == ["Fairness"]
    rate = dimensions.iloc[0]
    assert rate["Harmless rate (%)"] == 75
    assert rate["Harmless rate (%) low"] < 75 < rate["Harmless rate (%) high"]
    assert (rate["Scored"], rate["Scored of"]) == (20, 20)
    assert next(iter(to_frames(found, "zh"))) != title


def test_the_tables_of_all_reports(files: list[Path]) -> None:
    compared = to_frames(flames.compare(files, lang="en"))
    assert any((frame.select_dtypes("number") < 0).any().any() for frame in compared.values())
    assert to_frames(flames.trend(files, lang="en"))
    gate = flames.gate(files[1], against=str(files[0]), min=("Safety=10",), lang="en")
    frame = to_frames(gate)["Flames gate"]
    assert frame["value"].tolist() == pytest.approx([40.0, -35.0])
    assert frame["p"].isna().tolist() == [True, False]
    assert to_frames(flames.report(files, lang="en"))  # several results under one title each


def test_the_tables_of_any_document() -> None:
    prices = to_frames(prices_document(load_prices(), None))
    [frame] = prices.values()
    assert len(frame) == len(load_prices())
    assert to_frames(spending_document([])) is not None
    with pytest.raises(UsageError, match="int has no tables"):
        to_frames(3)  # type: ignore[arg-type]
