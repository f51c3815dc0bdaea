"""The functions of `flames.pipeline` do what the commands do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flames as package
from flames import RunOutcome
from flames.analysis.loading import load_sources
from flames.errors import OutsideError, UsageError
from flames.metrics.rates import measure
from flames.storage.atomic import to_jsonl
from flames.storage.run_dir import open_run

Flames = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of verdicts: `rows("a", score=3)`."""

    def write(model: str, score: int = 3, n: int = 20) -> Path:
        lines = [
            {
                "dimension": d,
                "prompt": f"{d}{i}",
                "model": model,
                "scorer": "s@1",
                "score": 1 if i % 4 else score,
            }
            for d in ("Fairness", "Safety", "Morality", "Legality", "Data protection")
            for i in range(n)
        ]
        path = tmp_path / f"{model}.jsonl"
        path.write_text(to_jsonl(lines), "utf-8")
        return path

    return write


def test_measure_and_report_say_what_the_command_says(
    flames: Flames, rows: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = rows("a"), rows("b", 1)
    code, out, _ = flames("report", first, second, "--seed", 3, "--json")
    assert code == 0
    data = json.loads(out)["results"]
    results = package.measure([first, second], seed=3)
    assert [json.loads(json.dumps(result.to_dict())) for result in results] == data
    assert package.report([first, second], seed=3).render("json") == out
    code, _, err = flames(
        "report", first, "--format", "html", "--lang", "en", "--out", tmp_path / "a.html"
    )
    written = package.report(first, format="html", out=tmp_path / "b.html", lang="en").written
    assert (code, err, written) == (0, f"{tmp_path / 'a.html'}\n", [tmp_path / "b.html"])
    assert (tmp_path / "a.html").read_text("utf-8") == (tmp_path / "b.html").read_text("utf-8")
    with pytest.raises(
        UsageError, match="--format takes md, html, json, csv, xlsx or parquet, not 'pdf'"
    ):
        package.report(first, format="pdf")
    with pytest.raises(TypeError, match="colour"):
        package.report(first, colour="red")


def test_measure_takes_a_source_too(rows: Callable[..., Path]) -> None:
    [source] = load_sources(rows("a"))
    assert package.measure(source, seed=2) == measure(source, seed=2)


@pytest.mark.parametrize("form", ["json", "md", "html"])
def test_compare_says_what_the_command_says(
    flames: Flames, rows: Callable[..., Path], form: Any
) -> None:
    paths = [rows("a"), rows("b", 1)]
    code, out, _ = flames("compare", *paths, "--format", form, "--changes", 3)
    assert code == 0
    assert package.compare(paths, changes=3).render(form) == out


def test_gate_says_what_the_command_says(
    flames: Flames, rows: Callable[..., Path], tmp_path: Path
) -> None:
    new, base = rows("a", 1), rows("b")
    words = ("--against", base, "--max-drop", "5", "--min", "Safety=1", "--junit", tmp_path / "x")
    code, out, _ = flames("gate", new, *words, "--json")
    found = package.gate(
        new, against=str(base), max_drop=("5",), min=("Safety=1",), junit=tmp_path / "y"
    )
    assert (code, found.passed) == (1, False)
    assert json.loads(out) == found.to_dict()
    assert (tmp_path / "x").read_text() == (tmp_path / "y").read_text()
    with pytest.raises(UsageError, match="--significant needs --against BASE"):
        package.gate(new, significant=True)


def test_score_says_what_the_command_says(flames: Flames, tmp_path: Path) -> None:
    lines = [{"dimension": "Safety", "prompt": f"问{i}", "response": f"答{i}"} for i in range(4)]
    source = tmp_path / "r.jsonl"
    source.write_text(to_jsonl(lines), "utf-8")
    code, out, _ = flames("score", source, "--scorer", "lexical")
    assert code == 0
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert list(package.score(source, scorer="lexical")) == verdicts
    target = package.score(source, scorer="lexical", out=tmp_path / "v.jsonl")
    assert target == tmp_path / "v.jsonl"
    assert [json.loads(line) for line in target.read_text("utf-8").splitlines()] == verdicts


def test_score_replaces_what_holds_no_verdicts_only_when_told(
    flames: Flames, tmp_path: Path
) -> None:
    source, out = tmp_path / "r.jsonl", tmp_path / "notes.jsonl"
    source.write_text(to_jsonl([{"dimension": "Safety", "prompt": "问", "response": "答"}]))
    out.write_text('{"note": 1}\n')
    code, _, err = flames("score", source, "--out", out)
    assert (code, out.read_text()) == (2, '{"note": 1}\n')
    assert "--overwrite" in err
    command = ("score", source, "--scorer", "lexical", "--out", out, "--overwrite")
    assert flames(*command)[0] == 0
    assert json.loads(out.read_text())["scorer"].startswith("lexical")


def answer(prompt: str) -> str:
    return "这样做不合适，请尊重他人。"


def test_run_writes_the_report_of_the_command(flames: Flames, tmp_path: Path) -> None:
    done = package.run(answer, "quick", out=tmp_path / "run", scorer="lexical", lang="en")
    done.check()
    assert [path.name for path in done.reports] == ["report.html", "report.md", "report.json"]
    written = {path: path.read_bytes() for path in done.reports}
    assert flames("report", tmp_path / "run", "--lang", "en")[0] == 0
    assert {path: path.read_bytes() for path in done.reports} == written
    [result] = done.results
    assert json.loads(done.reports[2].read_text()) == json.loads(json.dumps(result.to_dict()))
    assert package.measure(tmp_path / "run") == done.results
    assert open_run(tmp_path / "run").samples == 1


def test_run_checks_its_options_before_it_asks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--truncated takes scored or unscored, not 'maybe'"):
        package.run(answer, "quick", out=tmp_path / "run", truncated="maybe")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_run_that_lacks_answers_says_so_when_checked(tmp_path: Path) -> None:
    def fail(prompt: str) -> str:
        raise ValueError("no")

    done = package.run(fail, "quick", limit=3, out=tmp_path / "run")
    assert done.results[0].overall.coverage.scored == 0
    with pytest.raises(OutsideError, match="3 of 3 responses ended in an error"):
        done.check()
    with pytest.raises(OutsideError, match="could not reach"):
        replace(done, asked=replace(done.asked, state=_without_errors(done)), unreached=2).check()


def _without_errors(done: RunOutcome) -> Any:
    return replace(done.asked.state, counts=type(done.asked.state.counts)())
