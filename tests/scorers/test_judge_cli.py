"""`flames score` with a judge, as a process: options, and a kill at any moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flames.cli import main


def written(path: Path, count: int) -> Path:
    rows = (
        {"prompt": f"问题{n}", "dimension": "Safety", "model": "m", "response": f"回答{n}"}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_killed_scoring_goes_on_and_asks_nothing_twice(
    slow_endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAMES_HOME", str(tmp_path / "home"))
    source, out = written(tmp_path / "r.jsonl", 120), tmp_path / "v.jsonl"
    command = [sys.executable, "-m", "flames", "score", str(source), "--out", str(out)]
    command += ["--scorer", "judge:j", "--base-url", slow_endpoint.url, "--concurrency", "4"]
    for enough in (5, 40):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while slow_endpoint.count() < enough and process.poll() is None:
                pass  # every look asks the endpoint
            process.send_signal(signal.SIGKILL)
    assert not out.exists()
    subprocess.run(command, check=True, capture_output=True)
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["score"] for line in lines] == [3] * 120
    asked = Counter(a["body"]["messages"][-1]["content"] for a in slow_endpoint.asked())
    assert len(asked) == 120
    # twice at most, and only what was under way when it was killed
    assert sum(n - 1 for n in asked.values()) <= 2 * 4


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_the_options_of_a_judge(
    endpoint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(written(tmp_path / "r.jsonl", 1))
    prompt = tmp_path / "mine.md"
    prompt.write_text(
        "=== system ===\nX\n=== user ===\n{{fence}}{{prompt}}{{response}}\n=== reminder ===\nY",
        "utf-8",
    )
    common = ["score", source, "--scorer", "judge:j", "--base-url", endpoint.url]
    option = "--scorer-option"
    assert run(*common, option, "votes=2", option, "lang=en") == 0
    assert run(*common, option, "votes=3") == 0
    assert run(*common, option, f"prompt={prompt}") == 0
    scorers = [json.loads(line)["scorer"] for line in capsys.readouterr().out.splitlines()]
    assert scorers[:2] == ["judge:j@en-v3x2", "judge:j@zh-v3x3"]
    assert scorers[2].startswith("judge:j@mine-")
    assert run(*common, option, "lang=de") == 2
    assert "zh or en" in capsys.readouterr().err


def test_an_endpoint_that_is_down_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(written(tmp_path / "r.jsonl", 1))
    arguments = ["score", source, "--scorer", "judge:j", "--base-url", "http://127.0.0.1:9/v1"]
    assert run(*arguments, "--scorer-option", "retries=0") == 3
    told = capsys.readouterr().err
    assert "127.0.0.1:9" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("scorer", "selftest", "judge:j", "--json"), 1),  # it says 3 to everything
        (("scorer", "probe", "judge:j", "--responses", "r.jsonl", "--probes", "order"), 0),
        (("scorer", "eval", "judge:j", "--labels", "v.jsonl", "--json"), 0),
        (("scorer", "calibrate", "judge:j", "--labels", "v.jsonl", "--out", "c.json",
          "--scorer-option", "votes=3"), 0),
    ],
    ids=["selftest", "probe", "eval", "calibrate"],
)  # fmt: skip
def test_judges_are_reached_through_scorer_options(
    endpoint: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = written(tmp_path / "r.jsonl", 40).read_text("utf-8").splitlines()
    labels = (json.dumps({**json.loads(row), "score": 3, "scorer": "human:a"}) for row in rows)
    (tmp_path / "v.jsonl").write_text("\n".join(labels) + "\n", "utf-8")
    before = len(endpoint.asked())
    assert run(*command, "--scorer-option", f"base_url={endpoint.url}") == code
    assert len(endpoint.asked()) > before
    capsys.readouterr()
    assert run(*command, "--base-url", endpoint.url) == 2
    assert "No such option: --base-url" in capsys.readouterr().err


def test_a_panel_whose_judges_take_different_parameters(endpoint: Any, tmp_path: Path) -> None:
    source, out = written(tmp_path / "r.jsonl", 2), tmp_path / "v.jsonl"
    options = ("journal=none", "max-tokens@j=64", "temperature@j=none", 'extra_body={"top_k": 1}')
    given = [word for option in options for word in ("--scorer-option", option)]
    reach = ("--scorer", "judge:fixed+j", "--base-url", endpoint.url, "--out", str(out))
    assert run("score", str(source), *reach, *given) == 0
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["score"] for line in lines] == [3, 3]
    bodies = [each["body"] for each in endpoint.asked()]
    assert [b["model"] for b in bodies if "temperature" in b] == ["fixed"]
    assert {b["max_tokens"] for b in bodies if b["model"] == "j"} == {64}
    assert {b["top_k"] for b in bodies} == {1}
    wrong = (*reach, "--scorer-option", "temperature@nobody=1", "--overwrite")
    assert run("score", str(source), *wrong) == 2
