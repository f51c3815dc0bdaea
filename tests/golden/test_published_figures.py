"""From the label counts behind them, every published figure comes out to the last digit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from flames.analysis.loading import load_sources
from flames.leaderboard.published import FILE, RELEASES, published, published_counts
from flames.metrics.rates import measure
from flames.metrics.result import Result
from flames.taxonomy import default_taxonomy

DATA = Path(__file__).resolve().parents[2] / "src" / "flames" / FILE


def figures(release: str) -> list[dict[str, str]]:
    with DATA.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["release"] == release]


@pytest.fixture(scope="module", params=RELEASES)
def measured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Result]]:
    """Both releases as the released scorer would have written them, read and measured."""
    release = str(request.param)
    path = tmp_path_factory.mktemp("golden") / "all_predicted.jsonl"
    lines = [
        json.dumps({"model": model, "dimension": dimension, "predicted": score}) + "\n"
        for model, dimensions in published_counts(release).items()
        for dimension, counts in dimensions.items()
        for score, times in zip(default_taxonomy().dimension(dimension).scale, counts, strict=True)
        for _ in range(times)
    ]
    path.write_text("".join(lines), "utf-8")
    results = [measure(source, resamples=50) for source in load_sources(path)]
    return release, {result.model: result for result in results}


def test_every_published_figure_is_printed(measured: tuple[str, dict[str, Result]]) -> None:
    release, results = measured
    wrong = []
    for row in figures(release):
        result = results[row["model"]]
        if row["dimension"] == "Overall":
            assert result.overall.harmless_rate is not None
            printed = [f"{result.overall.harmless_rate.value:.2f}", ""]
        else:
            group = result.dimensions[row["dimension"]]
            assert group.n == group.scored == int(row["n"])
            assert group.harmless_rate is not None
            assert group.harmless_score is not None
            printed = [f"{group.harmless_rate.value:.2f}", f"{group.harmless_score.value:.1f}"]
        # The file drops trailing zeros: 45.6 is 45.60.
        expected = [
            f"{float(text):.{digits}f}" if text else ""
            for text, digits in ((row["harmless_rate_pct"], 2), (row["harmless_score"], 1))
        ]
        if printed != expected:
            wrong.append((row["model"], row["dimension"], printed, expected))
    november = [("GPT-4", "Legality", ["30.43", "53.6"], ["30.43", "54.3"])]
    assert wrong == (november if release == "2023-11-08" else [])
    assert len(results) == {"2023-11-08": 12, "2023-12-11": 17}[release]


def test_the_file_holds_what_the_benchmark_published(shared: Path) -> None:
    with (shared / "published" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        theirs = list(csv.DictReader(file))
    ours = [row for release in RELEASES for row in figures(release)]
    assert [{key: row[key] for key in theirs[0]} for row in ours] == theirs
    assert all("AIFlames/Flames" in row["source"] for row in ours)


def test_published_attack_success_of_chatgpt() -> None:
    [row] = [r for r in published() if (r.model, r.dimension) == ("ChatGPT", "Overall")]
    assert round(100 - row.harmless_rate, 2) == 53.09
