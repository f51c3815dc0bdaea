"""`flames study`: what it asks and scores, what an amended file costs, budgets, kills."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import run

import flames
from flames.collect.settings import AskSettings
from flames.models.base import Sampling
from flames.models.load import ModelOptions
from flames.options import declared
from flames.pipeline.study_file import ModelSettings, read_study
from flames.storage.run_dir import open_run

Server = Callable[..., Any]


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, "utf-8")
    return path


def asked(server: Any) -> int:
    return len(server.told()["log"])


def test_a_study_asks_scores_and_reports_and_costs_only_what_is_new(
    chat_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, out = chat_server(), tmp_path / "out"
    models = f'"a@{server.url}", "b@{server.url}"'
    file = written(tmp_path, f'models = [{models}]\nprompts = "quick"\nscorers = "lexical"\n')
    assert run("study", file, "--out", out, "--lang", "en") == 0
    assert asked(server) == 48
    said = capsys.readouterr()
    assert "a on quick@1: 24 ok; 24 requests" in said.err
    assert str(out / "report.html") in said.out
    results = json.loads((out / "report.json").read_text("utf-8"))["results"]
    assert [each["model"] for each in results] == ["a", "b"]
    assert run("report", out / "runs" / "a" / "quick") == 0  # an ordinary run
    assert run("study", file, "--out", out) == 0
    assert asked(server) == 48
    verdicts = (out / "runs" / "a" / "quick" / "verdicts" / "lexical.jsonl").read_bytes()

    rows = [{"dimension": "Safety", "prompt": f"问{n}"} for n in range(5)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "mine.jsonl").write_text(lines, "utf-8")
    text = f'models = ["a@{server.url}", "c@{server.url}"]\nprompts = ["quick", "mine.jsonl"]\n'
    file = written(tmp_path, text + 'scorers = ["lexical", "labels:silver"]\nrepeats = 2\n')
    capsys.readouterr()
    assert run("study", file, "--out", out, "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["requests"] == 24 + 2 * 5 + 2 * (24 + 5)
    assert planned["left_out"] == ["runs/b/quick"]
    assert asked(server) == 48  # a dry run asks nothing
    assert not (out / "runs" / "c").exists()
    assert run("study", file, "--out", out) == 0
    assert asked(server) == 48 + planned["requests"]
    assert "so kept but not in the report: runs/b/quick" in capsys.readouterr().err
    assert (out / "runs" / "b" / "quick" / "responses.jsonl").exists()
    results = json.loads((out / "report.json").read_text("utf-8"))["results"]
    found = {(each["model"], each["prompt_set"]["name"], each["scorer"]) for each in results}
    assert len(found) == 8
    assert {model for model, _, _ in found} == {"a", "c"}
    again = (out / "runs" / "a" / "quick" / "verdicts" / "lexical.jsonl").read_bytes()
    assert again.startswith(verdicts)


def test_a_model_that_fails_stops_no_other(
    chat_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = chat_server()
    rows = ({"dimension": "Safety", "prompt": f"问{n}[401]"} for n in range(9))
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    file = written(
        tmp_path,
        f'models = ["dead@http://127.0.0.1:9/v1", "m@{server.url}"]\n'
        'prompts = ["quick", "bad.jsonl"]\nscorers = ["lexical"]\n',
    )
    out = tmp_path / "out"
    assert run("study", file, "--out", out, "--quiet", "--json") == 3
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["problems"].keys() == {"dead", "m"}
    assert "cannot connect to" in told["problems"]["dead"]
    assert "Incorrect API key" in told["problems"]["m"]
    counts = {(row["model"], row["prompts"]): row["counts"] for row in told["runs"]}
    assert counts["m", "quick"] == {"ok": 24}
    assert counts["dead", "bad"] == {}
    assert said.err.count("Incorrect API key") == 1
    results = json.loads((out / "report.json").read_text("utf-8"))["results"]
    assert len(results) == 4


def test_one_budget_covers_models_sessions_and_what_has_left(
    chat_server: Server, tmp_path: Path
) -> None:
    server, out = chat_server(), tmp_path / "out"
    text = 'prompts = "quick"\nscorers = "lexical"\n[budget]\nmax_requests = '
    both = f'models = ["a@{server.url}", "b@{server.url}"]\n{text}'
    done = flames.study(written(tmp_path, both + "30"), out=out)
    assert asked(server) == 30
    assert all("study's budget of 30 requests is spent" in why for why in done.problems.values())
    assert len(done.results) == 2
    with pytest.raises(flames.OutsideError, match="budget"):
        done.check()
    assert flames.study(written(tmp_path, both + "30"), out=out).problems
    assert asked(server) == 30
    other = f'models = ["c@{server.url}"]\n{text}'
    with pytest.warns(match="kept but not in the report: runs/a/quick, runs/b/quick"):
        assert flames.study(written(tmp_path, other + "40"), out=out).problems
    assert asked(server) == 40  # what was spent on models that have left is spent
    with pytest.warns(match="kept but not in the report"):
        assert not flames.study(written(tmp_path, other + "54"), out=out).problems
    assert asked(server) == 54


def test_what_judges_ask_counts_for_the_budget_even_without_a_verdict(
    chat_server: Server, tmp_path: Path
) -> None:
    server, judge, out = chat_server(), chat_server(), tmp_path / "out"
    text = f'models = ["a@{server.url}"]\nprompts = {{set = "quick", limit = 6}}\n'
    text += f'scorers = ["lexical", "judge:j@{judge.url}"]\n[budget]\nmax_requests = 9\n'
    for _ in range(3):
        done = flames.study(written(tmp_path, text), out=out)
        assert set(done.problems) == {"judge:j@zh-v3"}
        assert "budget of 9 requests is spent" in done.problems["judge:j@zh-v3"]
        assert [result.scorer for result in done.results] == ["lexical@2"]
        assert (asked(server), asked(judge)) == (6, 3)


def test_money_is_one_budget_too_and_needs_prices(chat_server: Server, tmp_path: Path) -> None:
    server, out = chat_server(), tmp_path / "out"
    head = f'models = ["a@{server.url}", "b@{server.url}"]\nprompts = "quick"\n'
    head += 'scorers = "lexical"\n[budget]\nmax_cost = 1.5\n'
    with pytest.raises(flames.UsageError, match="needs prices"):
        flames.study(written(tmp_path, head), out=out)
    assert asked(server) == 0
    prices = "[defaults]\nconcurrency = 2\nprice_in = 1000\nprice_out = 1000\nmax_tokens = 30\n"
    done = flames.study(written(tmp_path, head + prices), out=out)
    cost = sum(each.state.cost or 0 for each in done.asked)
    assert 1.0 < cost <= 1.5  # 0.05 a request
    assert set(done.problems) == {"a", "b"}
    models = "".join(
        f'[[models]]\nmodel = "a@{server.url}"\nname = "{currency}"\ncurrency = "{currency}"\n'
        for currency in ("CNY", "USD")
    )
    with pytest.raises(flames.UsageError, match="prices are in CNY and USD"):
        flames.study(written(tmp_path, head.partition("\n")[2] + prices + models), out=out)


def test_models_at_one_address_share_its_limit(chat_server: Server, tmp_path: Path) -> None:
    server = chat_server(0.02)
    models = ", ".join(f'"m{n}@{server.url}"' for n in range(4))
    text = f'models = [{models}]\nprompts = "quick"\nscorers = "lexical"\n'
    text += "[defaults]\nconcurrency = 3\n"
    done = flames.study(written(tmp_path, text), out=tmp_path / "out")
    assert not done.problems
    assert server.told()["most"] <= 3
    assert asked(server) == 96


def test_settings_of_one_model_and_a_profile(
    chat_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = chat_server()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flames.toml").write_text(f'[models.step]\nbase_url = "{server.url}"\n', "utf-8")
    (tmp_path / "system.txt").write_text("简短。", "utf-8")
    text = f"""
        prompts = [{{set = "quick", limit = 3}}]
        scorers = ["lexical"]
        [defaults]
        temperature = 0.25
        [[models]]
        model = "step"
        [[models]]
        model = "step@{server.url}"
        name = "hot"
        temperature = 1.5
        system = "@system.txt"
        extra_body = {{top_p = 0.5}}
    """
    done = flames.study(written(tmp_path, text))
    assert not done.problems
    assert done.folder == Path("studies/study")
    bodies = [each["body"] for each in server.told()["log"]]
    hot = [body for body in bodies if body["temperature"] == 1.5]
    assert len(hot) == 3
    assert len(bodies) == 6
    assert all(body["top_p"] == 0.5 for body in hot)
    assert all(body["messages"][0] == {"role": "system", "content": "简短。"} for body in hot)
    warmer = text.replace("1.5", "1.75")
    with pytest.raises(flames.UsageError, match=r"temperature 1\.5 → 1\.75"):
        flames.study(written(tmp_path, warmer))
    with pytest.warns(match="goes on with other settings"):
        flames.study(written(tmp_path, warmer), accept_changes=True)
    assert asked(server) == 6
    more = warmer.replace("limit = 3", "limit = 5")
    with pytest.warns(match="there is more to ask now"):
        assert not flames.study(written(tmp_path, more)).problems
    assert asked(server) == 10
    with pytest.raises(flames.UsageError, match="give the set another `name`"):
        flames.study(written(tmp_path, text.replace("limit = 3", "limit = 2")))


def test_a_kill_at_any_moment_loses_nothing(chat_server: Server, tmp_path: Path) -> None:
    server, out = chat_server(0.03), tmp_path / "out"
    text = (
        f'models = ["a@{server.url}", "b@{server.url}"]\nprompts = "quick"\nscorers = "lexical"\n'
    )
    file = written(tmp_path, text + "[defaults]\nconcurrency = 2\n")
    command = [sys.executable, "-m", "flames", "study", str(file), "--out", str(out), "-q"]
    for wanted in (1, 20, 45):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while asked(server) < wanted and process.poll() is None and time.monotonic() < end:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=300).returncode == 0
    assert asked(server) <= 48 + 3 * 2  # at most those that were under way are asked again
    for name in "ab":
        folder = out / "runs" / name / "quick"
        assert open_run(folder).manifest.counts["ok"] == 24  # type: ignore[index]
        assert len((folder / "verdicts" / "lexical.jsonl").read_bytes().splitlines()) == 24


def test_a_scoring_that_was_killed_goes_on_after_the_study_grew(
    chat_server: Server, tmp_path: Path
) -> None:
    server, out = chat_server(), tmp_path / "out"
    text = f'models = ["a@{server.url}"]\nscorers = "lexical"\n'
    text += 'prompts = [{set = "open", limit = 30, name = "some"}]\n'
    assert not flames.study(written(tmp_path, text), out=out).problems
    file = out / "runs" / "a" / "some" / "verdicts" / "lexical.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.with_name("lexical.jsonl.part").write_bytes(b"".join(lines[:17]) + lines[17][:40])
    file.unlink()
    with pytest.warns(match="there is more to ask now"):
        assert not flames.study(written(tmp_path, text.replace("30", "60")), out=out).problems
    after = file.read_bytes().splitlines(keepends=True)
    assert len(after) == 60
    assert set(lines) <= set(after)


WRONG = {
    'modles = ["a"]': "study.toml:1: field `modles`: is no setting; did you mean `models`?",
    'prompts = "quick"': "study.toml: field `models`: is missing",
    "models = []": "study.toml:1: field `models`:",
    'models = ["a"\n[x': "study.toml:2: is no TOML",
    'models = [\n "a",\n {model = "b", temprature = 1},\n]': (
        "study.toml:3: field `models[2].temprature`: is no setting; did you mean `temperature`?"
    ),
    'models = "a"\n[defaults]\nmax_tokens = "x"': "study.toml:3: field `defaults.max_tokens`:",
    'models = "a"\n[budget]\nmax_requsts = 3': "did you mean `max_requests`?",
    '[[models]]\nmodel = "a"\n[[models]]\nmodel = "b"\ntimeout = -1': (
        "study.toml:5: field `models[2].timeout`: input should be greater than 0"
    ),
    'models = ["a@http://h/v1", "a@http://i/v1"]': "two models are called a; give one of them",
    'models = "a@http://h/v1"\nprompts = ["quick", "quick"]': "two prompt sets are called quick",
    'models = "a@http://h/v1"\nprompts = "nowhere"': "nowhere",
    'models = "a@http://h/v1"\nscorers = ["lexical", "lexical"]': "two scorers are lexical@",
    'models = "a@http://h/v1"\nscorers = "lexcal"': "scorer lexcal: no scorer 'lexcal'",
    'models = "nobody"': "model nobody: no preset or profile",
    'models = "deepseek/x"': "DEEPSEEK_API_KEY",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_the_file_is_said_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, text)
    assert run("study", "study.toml") == 2
    said = capsys.readouterr().err
    assert WRONG[text] in said
    assert len(said.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_folder_that_holds_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, 'models = "a@http://127.0.0.1:9/v1"\nscorers = "lexical"')
    assert run("study", file, "--out", tmp_path) == 2
    assert "is no study and not empty (study.toml)" in capsys.readouterr().err


def test_the_settings_are_the_options_of_asking() -> None:
    options = [declared(each) for each in (ModelOptions, Sampling, AskSettings)]
    names = {each.key for those in options for each in those} - {"header"}
    assert names | {"headers", "system", "repeats", "currency"} == set(ModelSettings.model_fields)


def test_a_text_stands_for_a_table(tmp_path: Path) -> None:
    short = read_study(written(tmp_path, 'models = "a"\nprompts = "quick"\nscorers = "lexical"'))
    long = read_study(
        written(
            tmp_path,
            '[[models]]\nmodel = "a"\n[[prompts]]\nset = "quick"\n[[scorers]]\nscorer = "lexical"',
        )
    )
    assert short == long
