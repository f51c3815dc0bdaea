from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.loading import load_sources
from flames.analysis.trend import trend
from flames.cli._app import run as flames
from flames.errors import UsageError
from flames.metrics.paired import holm
from flames.metrics.source import Source
from flames.taxonomy import default_taxonomy

DIMENSIONS = default_taxonomy().names


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Writes a checkpoint's verdicts: so many of 40 prompts harmless, `fewer` by dimension."""

    def write(name: str, harmless: int = 30, prompts: str = "问", **given: Any) -> str:
        fewer, line = given.pop("fewer", {}), given.pop("line", lambda dimension, i: {})
        rows = [
            {
                "model": "m", "scorer": "s@1", "dimension": dimension, "response": f"{name} {i}",
                "prompt": f"{dimension} {prompts} {i}",
                "score": 3 if i < fewer.get(dimension, harmless) else 1, **given,
            } | line(dimension, i)
            for dimension in DIMENSIONS
            for i in range(40)
        ]  # fmt: skip
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return str(path)

    return write


def sources(*paths: str) -> list[Source]:
    return [source for path in paths for source in load_sources(path)]


def test_a_change_is_found_between_the_right_neighbours(checkpoint: Callable[..., str]) -> None:
    found = trend(
        sources(
            checkpoint("a"), checkpoint("b"), checkpoint("c", fewer={"Safety": 10}),
            checkpoint("d", fewer={"Safety": 10}),
        ),
        resamples=2000,
    )  # fmt: skip
    assert [point.name for point in found.points] == ["a", "b", "c", "d"]
    [(step, name, difference), *rest] = [c for c in found.changes if c[1]]
    assert (step.first, step.second, name, rest) == (1, 2, "Safety", [])
    assert difference.difference.value == pytest.approx(-50)
    assert [drift[1] for drift in found.drifts if drift[1]] == ["Safety"]


def test_all_tests_are_corrected_together(checkpoint: Callable[..., str]) -> None:
    found = trend(sources(checkpoint("a"), checkpoint("b", 27), checkpoint("c", 20)), resamples=500)
    assert found.whole is not None
    tested = [d for step in (*found.steps, found.whole) for d in step.tested.values()]
    assert len(tested) == found.tests == 3 * 6
    assert [d.p_holm for d in tested] == pytest.approx(holm([d.p for d in tested]))


def test_what_is_missing_is_not_tested_and_not_zero(checkpoint: Callable[..., str]) -> None:
    def lost(dimension: str, i: int) -> dict[str, Any]:
        return {"score": None, "unscored": "blocked"} if dimension == "Morality" else {}

    found = trend(sources(checkpoint("a"), checkpoint("b", line=lost)), resamples=200)
    [step] = found.steps
    assert step.overall is None
    assert "Morality" not in step.tested
    assert found.points[1].dimensions["Morality"].harmless_rate is None
    assert found.points[1].overall.coverage.unscored == {"blocked": 40}
    assert found.whole is None
    assert found.tests == 4


def test_neighbours_without_a_prompt_in_common_are_not_tested(
    checkpoint: Callable[..., str],
) -> None:
    a, b = checkpoint("a"), checkpoint("b", prompts="别的")
    found = trend(sources(a, b, checkpoint("c")), resamples=200)
    assert [[note.code for note in step.remarks] for step in found.steps] == [
        ["nothing_in_common"], ["nothing_in_common"]
    ]  # fmt: skip
    assert found.whole is not None  # the first and the last have their prompts in common
    assert found.tests == len(found.whole.tested) == 6


def test_order_by_date_and_conditions_that_differ(checkpoint: Callable[..., str]) -> None:
    def at(day: int, tokens: int) -> dict[str, Any]:
        return {"created": f"2026-11-0{day}T00:00:00Z", "sampling": {"max_tokens": tokens}}

    late, early = checkpoint("late", **at(2, 40)), checkpoint("early", **at(1, 96))
    given = sources(late, early)
    assert [p.name for p in trend(given, resamples=50).points] == ["late", "early"]
    found = trend(given, by_date=True, resamples=50)
    assert [p.name for p in found.points] == ["early", "late"]
    assert "max_tokens: 96 | 40" in str(found.steps[0].remarks[0])
    with pytest.raises(UsageError, match="no response says when it was made"):
        trend([*given, *sources(checkpoint("undated"))], by_date=True)


def test_one_run_and_several_scorers_are_refused(checkpoint: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="at least two runs"):
        trend(sources(checkpoint("a")))
    with pytest.raises(UsageError, match="choose one with --scorer: s@1, t@1"):
        trend(sources(checkpoint("a"), checkpoint("b", scorer="t@1")))


def test_the_command(
    checkpoint: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [checkpoint("one"), checkpoint("two", fewer={"Safety": 5})]
    assert flames(["trend", *paths, "--lang", "en"]) == 0
    out = capsys.readouterr().out
    assert "Safety fell between one and two (−62.5, p < 0.001)" in out
    assert "over all 6 tests" in " ".join(out.split())
    assert "▇" in out
    assert flames(["trend", *paths, "--lang", "zh", "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "安全在 one 与 two 之间下降" in out
    assert "**−62.5**" in out
    assert flames(["trend", *paths, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == 1
    assert data["steps"][0]["dimensions"]["Safety"]["p_holm"] < 0.001
    page = tmp_path / "t.html"
    assert flames(["trend", *paths, "--format", "html", "--out", str(page)]) == 0
    assert page.exists()
    assert flames(["trend", paths[0]]) == 2
    assert "at least two runs" in capsys.readouterr().err
