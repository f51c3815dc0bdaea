"""Models by their address or a profile through the commands, and `flames models ping`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flames.cli._app import run as flames
from flames.models.profiles import user_file


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FLAMES_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def profile(name: str, text: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    with user_file().open("a", encoding="utf-8") as file:
        file.write(f"[{name}]\n{text}\n")


def test_a_run_and_its_judge_at_two_addresses(
    endpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    profile("judge-72b", f'base_url = "{endpoint.url}"\nmodel = "always-1"')
    asked = ["run", "m", "--base-url", endpoint.url, "--prompts", "quick", "--limit", "3", "-q"]
    for number, judge in enumerate((f"judge:always-3@{endpoint.url}", "judge:judge-72b")):
        out = Path(f"run-{number}")
        assert flames([*asked, "--scorer", judge, "--out", str(out), "--lang", "en"]) == 0
        [path] = (out / "verdicts").glob("*.jsonl")
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert {row["score"] for row in rows} == {3 - 2 * number}
        name = ("always-3", "judge-72b")[number]
        assert {row["scorer"] for row in rows} == {f"judge:{name}@zh-v3"}
    bodies = [each["body"]["model"] for each in endpoint.asked()]
    assert Counter(bodies) == {"m": 6, "always-3": 3, "always-1": 3}
    profile("step-2000", f'base_url = "{endpoint.url}"')
    words = ["ask", "step-2000", "--prompts", "quick", "--limit", "1", "--out", "c", "-q"]
    assert flames(words) == 0
    assert json.loads(Path("c/manifest.json").read_text("utf-8"))["spec"] == "step-2000"
    assert [each["body"]["model"] for each in endpoint.asked()] == ["step-2000"]


def test_a_panel_of_judges_at_their_own_addresses(
    endpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"prompt": "问题", "dimension": "Safety", "model": "m", "response": "回答"}
    Path("r.jsonl").write_text(json.dumps(row), "utf-8")
    panel = "+".join(f"always-{n}@{endpoint.url}" for n in (1, 3)) + f"+x@{endpoint.url}"
    assert flames(["score", "r.jsonl", "--scorer", f"judge:{panel}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["score"], found["scorer"]) == (3, "judge:always-1+always-3+x@zh-v3")


@pytest.mark.parametrize(
    ("model", "supports"),
    [
        ("m", {"schema": "yes", "tool": "yes"}),
        ("no-schema", {"schema": "refused", "tool": "yes"}),
        ("broken-no-structure", {"schema": "refused", "tool": "refused"}),
    ],
)
def test_ping_says_whether_a_model_answers_and_what_it_supports(
    endpoint: Any, model: str, supports: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    profile("mine", f'base_url = "{endpoint.url}"\nmodel = "{model}"')
    assert flames(["models", "ping", "mine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["status"], found["supports"]) == ("mine", "ok", supports)
    assert (found["tokens_in"], found["tokens_out"], found["requests"]) == (200, 40, 3)
    assert len(endpoint.asked()) == 3
    for lang, said in (("en", "answered in"), ("zh", "秒后作答")):
        assert flames(["models", "ping", f"{model}@{endpoint.url}", "--lang", lang]) == 0
        shown = capsys.readouterr().out
        assert said in shown
        assert ("is not supported" in shown) == ("refused" in supports.values())


def test_ping_of_what_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert flames(["models", "ping", "m@http://127.0.0.1:9/v1"]) == 3
    assert "cannot connect to 127.0.0.1:9" in capsys.readouterr().err
    assert flames(["models", "ping", "m"]) == 2
    assert "flames models list" in capsys.readouterr().err


def test_list_shows_profiles_before_presets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile("mine", 'base_url = "http://me:secret@10.0.0.5/v1"\napi_key_env = "MY_KEY"')
    monkeypatch.setenv("MY_KEY", "hidden")
    assert flames(["models", "list", "--json"]) == 0
    first, *others = json.loads(capsys.readouterr().out)
    assert first["file"] == str(user_file())
    assert (first["name"], first["address"], first["key"]) == ("mine", "http://10.0.0.5/v1", "set")
    assert "deepseek/…" in [each["name"] for each in others]
    assert flames(["models", "list", "--lang", "zh"]) == 0
    shown = capsys.readouterr().out
    assert "mine" in shown
    assert "secret" not in shown
    assert "hidden" not in shown
