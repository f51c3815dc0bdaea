"""Scoring in workers of a Ray cluster: the same bytes as one process, whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import odd_scorer
import pytest
from command import run
from score_rows import read_lines, response_rows, write_rows

from flames.errors import UsageError
from flames.scorers.options import ScoreOptions

RAY = ("--engine", "ray", "--workers", "2")


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the scorer `odd` remembers, and the package that brings it."""
    pytest.importorskip("ray.data", reason="needs the extra scale")
    package, memory = tmp_path / "package", tmp_path / "memory"
    package.mkdir()
    memory.mkdir()
    odd_scorer.install(package)
    paths = [str(package), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("FLAMES_HOME", str(tmp_path / "home"))
    return memory


def command(path: Path, out: Path, odd: Path, *more: str) -> list[str]:
    scorer = ["--scorer", f"odd:{odd}", "--out", str(out), "--quiet"]
    return [sys.executable, "-m", "flames", "score", str(path), *scorer, *more]


def scored(path: Path, out: Path, odd: Path, *more: str) -> tuple[int, str]:
    done = subprocess.run(command(path, out, odd, *more), capture_output=True, text=True)
    return done.returncode, done.stderr


def rows(n: int, **said: str) -> list[dict[str, Any]]:
    made = response_rows(n)
    for number, text in said.items():
        made[int(number[1:])].update(response=text, status="ok")
    return made


def whole(tmp_path: Path, odd: Path, path: Path) -> bytes:
    out = tmp_path / "one.jsonl"
    assert scored(path, out, odd)[0] == 0
    return out.read_bytes()


def test_workers_give_the_same_bytes_though_some_are_killed(tmp_path: Path, odd: Path) -> None:
    path = write_rows(tmp_path, rows(61, r9="⟦die once⟧", r30="⟦die once⟧答", r60="⟦die once⟧"))
    out = tmp_path / "ray.jsonl"
    code, told = scored(path, out, odd, *RAY)
    assert code == 0, told
    assert len(list(odd.glob("died-*"))) == 3
    assert out.read_bytes() == whole(tmp_path, odd, path)
    assert not out.with_name("ray.jsonl.part").exists()


def test_what_was_scored_before_a_failure_is_kept_and_continued(tmp_path: Path, odd: Path) -> None:
    path = write_rows(tmp_path, rows(40, r25="⟦down⟧"))
    out = tmp_path / "ray.jsonl"
    code, told = scored(path, out, odd, *RAY)
    assert (code, told.strip().splitlines()[-1]) == (3, "flames: error: the judge is down")
    assert len(read_lines(out.with_name("ray.jsonl.part"))) == 24
    (odd / "up").touch()
    assert scored(path, out, odd, *RAY)[0] == 0
    assert out.read_bytes() == whole(tmp_path, odd, path)


def test_a_killed_driver_loses_and_doubles_nothing(tmp_path: Path, odd: Path) -> None:
    os.mkfifo(odd / "hangs")
    path = write_rows(tmp_path, rows(40, r25="⟦hang⟧"))
    out = tmp_path / "ray.jsonl"
    driver = subprocess.Popen(command(path, out, odd, *RAY), stderr=subprocess.DEVNULL)
    with (odd / "hangs").open("rb") as pipe:
        assert pipe.read(1) == b"."
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    (odd / "up").touch()
    assert not out.exists()
    begun = out.with_name("ray.jsonl.part").read_bytes()
    assert scored(path, out, odd, *RAY)[0] == 0
    assert out.read_bytes().startswith(begun)
    assert out.read_bytes() == whole(tmp_path, odd, path)


def test_a_response_that_kills_each_worker_ends_the_run_not_the_machine(
    tmp_path: Path, odd: Path
) -> None:
    path = write_rows(tmp_path, rows(12, r9="⟦die⟧"))
    out = tmp_path / "ray.jsonl"
    code, told = scored(path, out, odd, *RAY)
    assert code == 3, told
    assert told.strip().splitlines()[-1] == (
        "flames: error: 4 workers died while they scored p8 and the 3 responses after it"
    )
    assert len(read_lines(out.with_name("ray.jsonl.part"))) == 8


def test_an_exception_of_a_scorer_is_told_with_its_traceback(tmp_path: Path, odd: Path) -> None:
    path = write_rows(tmp_path, rows(8, r7="⟦bug⟧"))
    code, told = scored(path, tmp_path / "ray.jsonl", odd, *RAY)
    assert code == 70
    assert "ZeroDivisionError: odd" in told
    assert "odd_scorer.py" in told


def test_a_worker_that_fits_nowhere_is_said(tmp_path: Path, odd: Path) -> None:
    path = write_rows(tmp_path, rows(9))
    out = tmp_path / "ray.jsonl"
    code, told = scored(path, out, odd, "--engine", "ray", "--worker-gpus", "8")
    assert code == 2
    assert "a worker with 1 CPU cores and 8 GPUs does not fit on this machine" in told
    assert not list(tmp_path.glob("ray.*"))


def test_judges_in_workers_share_one_pace(
    tmp_path: Path, odd: Path, chat_server: Callable[..., Any]
) -> None:
    server = chat_server(delay=0.01)
    path = write_rows(tmp_path, response_rows(600, status="ok", response="答"))
    done = subprocess.run(
        [sys.executable, "-m", "flames", "score", str(path), "--scorer", "judge:m", "--out",
         str(tmp_path / "ray.jsonl"), "--base-url", server.url, "--concurrency", "3",
         "--quiet", *RAY],
        capture_output=True, text=True,
    )  # fmt: skip
    told = server.told()
    assert done.returncode == 0, done.stderr
    assert len(read_lines(tmp_path / "ray.jsonl")) == 600
    assert told["most"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2"], "--workers goes with --engine ray"),
        (["--engine", "ray", "--address", "ray://head:10001"], "is a client's address"),
        (["--engine", "ray"], "need --out FILE"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path, response_rows(3))
    assert run("score", path, "--scorer", "lexical", *words) == 2
    assert message in capsys.readouterr().err


def test_a_budget_of_one_process_is_refused(tmp_path: Path) -> None:
    from flames.scorers.ray_pool import Recipe, ray_pool

    pytest.importorskip("ray.data", reason="needs the extra scale")
    recipe = Recipe("judge:m", {"max_requests@m": 3})
    with (
        pytest.raises(UsageError, match="counts the requests of one process"),
        ray_pool(recipe, ScoreOptions(engine="ray")),
    ):
        pass
