"""Results and verdicts as DataFrames and as tables in a notebook."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

import flames
from flames.analysis.loading import load_sources
from flames.errors import MissingExtraError
from flames.metrics.rates import measure
from flames.metrics.source import Source


@pytest.fixture(scope="module")
def source() -> Source:
    return load_sources("labels:silver")[0]


def test_a_result_is_a_frame_with_the_rows_of_the_csv(source: Source) -> None:
    pytest.importorskip("pandas")
    result = measure(source, resamples=50)
    frame = result.to_frame()
    assert frame["level"].tolist().count("dimension") == 5
    overall = frame[frame["level"] == "overall"].iloc[0]
    assert result.overall.harmless_rate is not None
    assert overall["harmless_rate"] == result.overall.harmless_rate.value
    assert overall["harmless_rate_low"] == result.overall.harmless_rate.low
    assert len(flames.to_frame([result, result])) == 2 * len(frame)


def test_verdicts_are_a_frame(source: Source) -> None:
    pytest.importorskip("pandas")
    frame = source.to_frame()
    assert len(frame) == len(source.verdicts)
    assert frame["score"].tolist() == [verdict.score for verdict in source.verdicts]
    first = flames.to_frame(source.verdicts[:3])
    assert first.to_dict("records")[0].items() >= source.verdicts[0].to_dict().items()


def test_a_frame_without_pandas_says_what_to_install(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="needs the extra `table`"):
        source.to_frame()


def test_a_notebook_shows_tables_and_runs_nobodys_code(source: Source) -> None:
    hostile = "<img src=x>\x1b[31m"
    changed: list[Any] = [v.model_copy(update={"rationale": hostile}) for v in source.verdicts]
    hostile_source = replace(source, model=hostile, verdicts=tuple(changed))
    result = measure(hostile_source, resamples=50)
    for html in (hostile_source._repr_html_(), result._repr_html_()):
        assert html.startswith("<table>")
        assert "&lt;img src=x&gt;" in html
        assert "<img" not in html
        assert "\x1b" not in html
    assert f"first 20 of {len(changed)} rows" in hostile_source._repr_html_()
    assert "Fairness" in result._repr_html_()
