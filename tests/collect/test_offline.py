"""Offline generation with vLLM's batch runner: one answer each, whatever is killed or too long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command import run

from flames.storage.atomic import to_jsonl
from flames.storage.run_dir import open_run

FAKE = Path(__file__).parents[1] / "support" / "fake_vllm.py"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model, and a program `vllm` on the path."""
    folder, programs = tmp_path / "tiny", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    program = programs / "vllm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VLLM_LOG", str(tmp_path / "asked"))
    return folder


def prompts(folder: Path, texts: list[str]) -> Path:
    path = folder / "prompts.jsonl"
    rows = [{"id": f"p{n}", "dimension": "Safety", "prompt": t} for n, t in enumerate(texts)]
    path.write_text(to_jsonl(rows), "utf-8")
    return path


def words(model: Path, texts: list[str], *more: str) -> list[str]:
    where = ["--prompts", str(prompts(model.parent, texts)), "--out", str(model.parent / "run")]
    return ["ask", f"hf:{model}", "--engine", "vllm", *where, "--quiet", *more]


def journal(model: Path) -> list[dict[str, Any]]:
    lines = (model.parent / "run" / "responses.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def asked(model: Path) -> Counter[str]:
    path = model.parent / "asked"
    return Counter(path.read_text().split() if path.exists() else [])


def test_one_overlong_prompt_ends_as_an_error_not_the_run(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"问题{n}" for n in range(30)]
    texts[7] = "长" * 300
    more = ("--engine-option", "max-model-len=4096", "--engine-option", "enforce-eager")
    assert run(*words(model, texts, *more, "--max-tokens", "64")) == 3
    told = capsys.readouterr()
    assert "1 of 30 responses ended in an error" in told.err
    lines = {line["prompt_id"]: line for line in journal(model)}
    assert len(lines) == 30
    assert lines["p7"]["status"] == "error"
    assert "maximum context length" in lines["p7"]["error"]
    others = [line for name, line in lines.items() if name != "p7"]
    assert {line["status"] for line in others} == {"ok"}
    assert lines["p3"]["response"] == "答：问题3"
    assert lines["p3"]["reasoning"] == "想一想"
    assert lines["p3"]["model"] == "tiny"
    assert lines["p3"]["sampling"]["max_tokens"] == 64
    manifest = open_run(model.parent / "run").manifest
    assert manifest.asked["provider"] == "vllm offline"
    assert manifest.asked["engine_options"] == {"max-model-len": "4096", "enforce-eager": ""}
    assert [path.name for path in (model.parent / "run" / "vllm").iterdir()] == ["vllm.log"]
    assert run(*words(model, texts, *more, "--max-tokens", "64", "--resume")) == 3
    assert asked(model) == Counter({f"flames-p{n}-0": 1 + (n == 7) for n in range(30)})
    assert len(journal(model)) == 31


@pytest.mark.parametrize("order", [signal.SIGKILL, signal.SIGTERM])
def test_killed_it_resumes_and_asks_nothing_twice(
    model: Path, order: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"问题{n}" for n in range(40)]
    texts[5], texts[25] = "长" * 300, "[hang]"
    pipe = model.parent / "hangs"
    os.mkfifo(pipe)
    monkeypatch.setenv("FAKE_VLLM_HANGS", str(pipe))
    command = [sys.executable, "-m", "flames", *words(model, texts, "--resume")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pipe.open("rb") as reading:
        assert reading.read(1) == b"."
    process.send_signal(order)
    process.wait()
    if order == signal.SIGKILL:  # vLLM outlives it, and is not doubled
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert "vLLM of an earlier session still writes its results" in done.stderr
        [left] = [pid for pid in Path("/proc").iterdir() if _runs(pid, model)]
        os.kill(int(left.name), signal.SIGKILL)
    assert sum(asked(model).values()) == 25
    monkeypatch.delenv("FAKE_VLLM_HANGS")
    fixed = subprocess.run(command, capture_output=True, text=True)
    assert fixed.returncode == 3, fixed.stderr
    assert asked(model) == Counter({f"flames-p{n}-0": 1 + (n == 5) for n in range(40)})
    answered = Counter(line["prompt_id"] for line in journal(model) if line["status"] == "ok")
    assert answered == Counter({f"p{n}": 1 for n in range(40) if n != 5})


def _runs(process: Path, model: Path) -> bool:
    try:
        return str(model).encode() in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def test_a_vllm_that_breaks_down_keeps_what_it_answered(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [*(f"问题{n}" for n in range(9)), "[die]", "最后"]
    assert run(*words(model, texts)) == 3
    told = capsys.readouterr().err
    assert "vLLM ended with exit code 1 and gave no answer to 2 requests" in told
    assert len(journal(model)) == 9
    assert "CUDA out of memory" in (model.parent / "run" / "vllm" / "vllm.log").read_text()


@pytest.mark.parametrize(
    ("spec", "more", "message"),
    [
        ("gpt", (), "--engine vllm takes hf:PATH"),
        ("hf:{}", ("--frame", "qa"), "leave out --frame"),
        ("hf:{}", ("--engine-option", "model=x"), "that is what Flames sets itself"),
        ("hf:{}", ("--batch",), "leave it out for --engine vllm"),
        ("hf:{}/none", (), "no such folder"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    model: Path, spec: str, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(model, ["问"], *more)
    command[1] = spec.format(model)
    assert run(*command) == 2
    assert message in capsys.readouterr().err
    assert not (model.parent / "run").exists()


def test_without_vllm_one_line_says_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(model))
    assert run(*words(model, ["问"])) == 2
    assert "--engine vllm needs the program vllm: pip install vllm" in capsys.readouterr().err
