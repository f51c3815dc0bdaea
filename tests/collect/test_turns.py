"""Prompts of several turns, asked of a real server: it sees exactly these messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.collect.ask import ask
from flames.collect.batch_exchange import ExportOptions, export_requests
from flames.collect.plan import make_plan
from flames.errors import Notice, UsageError
from flames.models.base import QA, Message
from flames.models.load import CallableModel, ModelOptions
from flames.storage.run_merge import merge_runs

HISTORY = [{"role": "user", "content": "甲"}, {"role": "assistant", "content": "乙\n丙"}]
ROWS: list[dict[str, Any]] = [
    {"id": "plain", "prompt": "问"},
    {"id": "turns", "prompt": "问", "history": HISTORY},
    {"id": "own", "prompt": "问", "history": HISTORY, "system": "你是医生。"},
]
USER = {"role": "user", "content": "问"}
RUNS = {"role": "system", "content": "简短回答。"}
SENT = [
    [RUNS, USER],
    [RUNS, *HISTORY, USER],
    [{"role": "system", "content": "你是医生。"}, *HISTORY, USER],
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = ({"dimension": "Safety", **row} for row in ROWS)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_endpoint_sees_the_turns_in_their_order(
    prompts: Path, chat_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = chat_server()
    options = ModelOptions(base_url=server.url)
    with pytest.warns(Notice, match="1 of 3 prompts have a system text of their own"):
        run = ask("m", prompts, out=tmp_path / "run", options=options, system="简短回答。")
    seen = [each["body"]["messages"] for each in server.told()["log"]]
    assert sorted(seen, key=str) == sorted(SENT, key=str)
    lines = [json.loads(line) for line in run.responses_path.read_text("utf-8").splitlines()]
    for line in lines:
        [row] = [row for row in ROWS if row["id"] == line["prompt_id"]]
        assert (line.get("history"), line.get("system")) == (row.get("history"), row.get("system"))
    responses = {each.prompt_id: each for each in run.responses()}
    assert responses["own"].asked.history == (("user", "甲"), ("assistant", "乙\n丙"))


def test_a_file_of_requests_holds_the_same_messages(prompts: Path, tmp_path: Path) -> None:
    options = ExportOptions(
        model="m", prompts=str(prompts), out=tmp_path / "run", system="简短回答。"
    )
    with pytest.warns(Notice):
        export_requests(options)
    lines = (tmp_path / "run" / "requests.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["body"]["messages"] for line in lines] == SENT


def test_a_function_of_a_text_is_not_asked_half_a_conversation(prompts: Path) -> None:
    with pytest.raises(
        UsageError, match=r"2 prompts of the set prompts .*\(turns\).*messages=True"
    ):
        make_plan(lambda text: text, prompts)
    seen = make_plan(CallableModel(lambda messages: "答", messages=True), prompts)
    assert len(seen.messages(seen.prompts.by_id["own"])) == 4


def test_a_base_model_continues_the_conversation() -> None:
    turns = [Message("system", "简短"), Message("user", "甲"), Message("assistant", "乙")]
    text = QA.text([*turns, Message("user", "问")])
    assert text.endswith("简短\n\n问：甲\n答：乙\n\n问：问\n答：")


def test_an_edited_history_is_another_prompt(prompts: Path, tmp_path: Path) -> None:
    model = CallableModel(lambda messages: "答", messages=True)
    first = ask(model, prompts, out=tmp_path / "run")
    prompts.write_text(prompts.read_text("utf-8").replace(r"\u4e59", r"\u4e01"), "utf-8")
    with pytest.raises(UsageError, match="2 of its prompts are not asked now"):
        ask(model, prompts, out=tmp_path / "run", resume=True, accept_changes=True)
    other = ask(model, prompts, out=tmp_path / "other")
    assert first.prompt_set.ids_sha256 != other.prompt_set.ids_sha256
    with pytest.raises(UsageError, match="'turns' has another text"):
        merge_runs([first.path, other.path], tmp_path / "merged")
