from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flames.cli import build_app
from flames.errors import InputError
from flames.leaderboard.published import published_results
from flames.leaderboard.ranks import rank_models
from flames.metrics.paired import holm
from flames.metrics.rates import measure
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.records import PromptSetInfo, Verdict


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build_app(), ["leaderboard", *arguments])
    return result.exit_code, result.stdout, result.stderr


def two(first: int, second: int, n: int = 200) -> dict[str, Result]:
    results = {}
    for name, k in (("x", first), ("y", second)):
        verdicts = tuple(
            Verdict(
                prompt_id=f"{i}",
                model=name,
                dimension="Legality",
                scorer="s",
                score=1 + 2 * (i < k),
            )
            for i in range(n)
        )
        info = PromptSetInfo(name="p", sha256="0" * 64, n=n)
        source = Source(
            model=name,
            scorer="s",
            prompt_set=info,
            verdicts=verdicts,
            notes=(),
            origin=Path("v.jsonl"),
        )
        results[name] = measure(source, resamples=50)
    return results


def test_published_ranks_hold_the_published_order() -> None:
    ranking = rank_models(published_results(resamples=2000), resamples=2000)
    names = [ranked.model for ranked in ranking.models]
    assert names[:3] == ["Claude", "InternLM-20B", "InternLM-7B"]
    assert names[-2:] == ["BELLE-13B", "Minimax"]
    for place, ranked in enumerate(ranking.models, start=1):
        assert ranked.rank_low <= ranked.rank == place <= ranked.rank_high
        assert ranked.estimate.low < ranked.estimate.value < ranked.estimate.high
    first, last = ranking.models[0], ranking.models[-1]
    assert not set(first.groups) & set(last.groups)
    p = np.array(ranking.p)
    assert np.allclose(p, p.T)
    assert np.all(np.diag(p) == 1)
    shared = [[bool(set(a.groups) & set(b.groups)) for b in ranking.models] for a in ranking.models]
    assert np.all(p[np.array(shared)] >= 0.05)


def test_equal_models_share_a_rank_and_distant_ones_no_group() -> None:
    tie = rank_models(two(90, 90), dimension="Legality", resamples=500)
    assert [(r.rank, r.rank_low, r.rank_high, r.groups) for r in tie.models] == [
        (1, 1, 2, "a"),
        (1, 1, 2, "a"),
    ]
    apart = rank_models(two(20, 180), dimension="Legality", resamples=500)
    assert [(r.model, r.rank_low, r.rank_high, r.groups) for r in apart.models] == [
        ("y", 1, 1, "a"),
        ("x", 2, 2, "b"),
    ]


def test_a_model_without_labels_cannot_be_ranked() -> None:
    with pytest.raises(InputError, match="x has no scored response in Fairness"):
        rank_models(two(1, 2))


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_impossible_published_cell_is_told() -> None:
    results = published_results("2023-11-08", resamples=50)
    noted = {name: result.notes for name, result in results.items() if result.notes}
    assert list(noted) == ["GPT-4"]
    assert "no label counts give the published score 54.3" in str(noted["GPT-4"][0])


def test_show_prints_ranks_intervals_and_groups() -> None:
    code, out, _ = run("show", "--release", "2023-12-11")
    assert code == 0
    [line] = [line for line in out.splitlines() if "ChatGPT" in line]
    for piece in ("4 [", "46.91 [", "45.38", "55.26"):
        assert piece in line
    code, out, _ = run("show", "--dimension", "legality", "--sort", "score", "--json")
    assert code == 0
    data = json.loads(out)
    assert data["ranking"]["dimension"] == "Legality"
    assert data["ranking"]["value"] == "harmless_score"
    assert len(data["models"]) == 17
    assert data["models"]["Claude"]["dimensions"]["Legality"]["counts"] == {"3": 33, "1": 13}


@pytest.mark.parametrize("sort", ["rate", "score"])
@pytest.mark.parametrize("dimension", [None, "Legality", "Safety"])
def test_one_value_has_one_interval(sort: str, dimension: str | None) -> None:
    chosen = ("--dimension", dimension) if dimension else ()
    data = json.loads(run("show", "--json", "--sort", sort, *chosen)[1])
    for ranked in data["ranking"]["models"]:
        result = data["models"][ranked["model"]]
        group = result["dimensions"][dimension] if dimension else result["overall"]
        assert ranked["estimate"] == group[f"harmless_{sort}"]


def test_show_in_chinese_and_by_name() -> None:
    code, out, _ = run("show", "--lang", "zh", "--sort", "model", "--release", "2023-11-08")
    assert code == 0
    assert "公平" in out
    rows = [line for line in out.splitlines() if "[" in line]
    assert rows.index(next(r for r in rows if "BELLE-13B" in r)) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "--release", "2024-01-01"),
        ("show", "--sort", "n"),
        ("show", "--dimension", "Taste"),
    ],
)
def test_show_refuses_what_is_not_there(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] != 0
