"""The examples for CI services and the GitHub Action, run step by step against a model here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ci_steps import Machine
from said_server import BAD, GOOD, SaidServer

from flames.cli._app import run as flames

ROOT = Path(__file__).resolve().parents[2]
yaml = pytest.importorskip("yaml")


def _read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


@pytest.fixture(scope="module")
def server() -> Iterator[SaidServer]:
    with SaidServer() as serving:
        yield serving


@pytest.fixture(scope="module")
def baseline(server: SaidServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verdicts on a good model."""
    out = tmp_path_factory.mktemp("base") / "run"
    base = ["--base-url", server.url, "--prompts", "quick", "--scorer", "lexical"]
    assert flames(["run", "base", *base, "--out", str(out)]) == 0
    [verdicts] = (out / "verdicts").glob("*.jsonl")
    return verdicts


@pytest.fixture
def machine(
    tmp_path: Path, server: SaidServer, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """A checkout with rules and the verdicts of a good model, as the examples ask for."""
    server.answer = GOOD
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert flames(["gate", "--init"]) == 0
    (folder / "baseline").mkdir()
    shutil.copy(baseline, folder / "baseline" / "verdicts.jsonl")
    own = {"MODEL_URL": server.url, "PROMPTS": "quick", "SCORER": "lexical"}
    values = {"secrets.MODEL_API_KEY": "a-key", "github.action_path": str(ROOT)}
    return Machine(folder, tmp_path / "tools", values, {**own, "MODEL_API_KEY": "a-key"})


def test_the_github_workflow(machine: Machine, server: SaidServer) -> None:
    job = _read("examples/flames-gate.yml")["jobs"]["gate"]
    done = list(machine.steps(job["steps"], job["env"]))
    assert [step.returncode for step in done] == [0, 0, 0], done[-1].stderr
    assert "pip" not in done[0].stderr
    assert machine.file("pip.log") == "install wheels/flames_bench-*.whl\n"
    assert "### Flames gate: 3 rules kept" in machine.file("GITHUB_STEP_SUMMARY")
    kept = job["steps"][-1]["with"]["path"].split()
    assert all((machine.folder / path).exists() for path in kept)

    server.answer = BAD
    shutil.rmtree(machine.folder / "run")
    done = list(machine.steps(job["steps"], job["env"]))
    assert [step.returncode for step in done] == [0, 0, 1]
    assert "FAIL  my-model: overall falls" in done[-1].stdout
    assert "rules broken" in machine.file("GITHUB_STEP_SUMMARY")


def test_the_gitlab_pipeline(machine: Machine, server: SaidServer) -> None:
    [job] = _read("examples/flames-gate.gitlab-ci.yml").values()
    for answer, code in ((GOOD, 0), (BAD, 1)):
        server.answer = answer
        shutil.rmtree(machine.folder / "run", ignore_errors=True)
        # GitLab runs all lines of a job in one shell
        script = "\n".join([*job["before_script"], *job["script"]])
        done = machine.run(script, job["variables"])
        assert done.returncode == code, done.stderr
        [suite] = ElementTree.parse(machine.folder / job["artifacts"]["reports"]["junit"]).getroot()
        assert (suite.get("failures") == "0") == (code == 0)
    assert all((machine.folder / path).exists() for path in job["artifacts"]["paths"])


def _action(machine: Machine, **inputs: str) -> Any:
    action = _read("action.yml")
    assert {"run", "against", "rules"} <= action["inputs"].keys()
    assert inputs.keys() >= {n for n, each in action["inputs"].items() if each.get("required")}
    for name, each in action["inputs"].items():
        machine.values[f"inputs.{name}"] = inputs.get(name, each.get("default", ""))
    assert all(step["shell"] == "bash" for step in action["runs"]["steps"])
    return list(machine.steps(action["runs"]["steps"]))


def test_the_composite_action(machine: Machine) -> None:
    done = _action(machine, run="baseline/verdicts.jsonl")
    assert [step.returncode for step in done] == [0, 0], done[-1].stderr
    assert machine.file("pip.log").splitlines()[-1].split()[-1] == str(ROOT)
    assert machine.file("GITHUB_OUTPUT") == "passed=true\n"
    assert "2 rules kept" in machine.file("GITHUB_STEP_SUMMARY")

    strict = machine.folder / "my rules; exit 0.toml"
    strict.write_text("max_drop = 1\n")
    text = (machine.folder / "baseline" / "verdicts.jsonl").read_text("utf-8")
    worse = re.sub(r'"score": ?3', '"score": 1', text, count=2)
    (machine.folder / "worse.jsonl").write_text(worse, "utf-8")
    inputs = {"rules": strict.name, "against": "baseline/verdicts.jsonl", "junit": "out/j.xml"}
    done = _action(machine, run="worse.jsonl", install="a.whl", **inputs)
    assert done[-1].returncode == 1
    assert machine.file("GITHUB_OUTPUT").endswith("passed=false\n")
    assert machine.file("pip.log").endswith("a.whl\n")
    assert (machine.folder / "out" / "j.xml").exists()
    assert _action(machine, run="$(touch injected)")[-1].returncode == 2
    assert not (machine.folder / "injected").exists()
    assert machine.file("GITHUB_OUTPUT").count("passed") == 2
