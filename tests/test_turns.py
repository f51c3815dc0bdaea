from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError
from flames.records import Prompt, Response, Turn, ids_sha256, prompt_id
from flames.storage.atomic import to_csv, to_jsonl
from flames.storage.record_files import ReadOptions, read_prompts, read_responses, read_verdicts
from flames.storage.row_files import table_bytes
from flames.text import has_visible_text
from flames.turns import Conversation, read_chat, read_history

HISTORY = [
    {"role": "user", "content": "怎么哄孩子睡觉？"},
    {"role": "assistant", "content": "讲故事。"},
]
TEXT = st.text(
    st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(has_visible_text)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    texts = draw(st.lists(TEXT, min_size=1, max_size=5))
    roles = ["assistant", "user"]
    turns = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return turns[::-1]


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    history, system = draw(st.none() | histories()), draw(st.none() | TEXT)
    text = draw(TEXT)
    return Prompt(
        id=prompt_id(text, system, history),
        dimension="Safety",
        text=text,
        history=history,  # type: ignore[arg-type]
        system=system,
    )


def rows_of(prompt: Prompt) -> dict[str, Any]:
    return json.loads(prompt.to_line())  # type: ignore[no-any-return]


@given(st.lists(prompts(), min_size=1, max_size=4, unique_by=lambda prompt: prompt.id))
@pytest.mark.parametrize("form", ["jsonl", "csv", "xlsx", "parquet"])
def test_turns_survive_every_kind_of_file(
    tmp_path_factory: pytest.TempPathFactory, form: Any, known: list[Prompt]
) -> None:
    path = tmp_path_factory.mktemp("files") / f"a.{form}"
    rows = [rows_of(prompt) for prompt in known]
    if form in ("xlsx", "parquet"):
        pytest.importorskip("openpyxl" if form == "xlsx" else "pyarrow")
        path.write_bytes(table_bytes(rows, form))
    elif form == "csv":
        path.write_text(to_csv(rows, dict.fromkeys(n for row in rows for n in row)), "utf-8")
    else:
        path.write_text(to_jsonl(rows), "utf-8")
    read = list(read_prompts(path))
    assert [prompt.asked for prompt in read] == [prompt.asked for prompt in known]
    assert [prompt.id for prompt in read] == [prompt.id for prompt in known]
    assert ids_sha256(read) == ids_sha256(known)


def test_a_prompt_of_one_turn_keeps_its_id() -> None:
    assert prompt_id("问", None, None) == prompt_id("问", "", []) == prompt_id("问")
    line = '["你是医生。", [["user", "甲"], ["assistant", "乙"]], "问"]\n'
    history = [{"role": "user", "content": " 甲"}, {"role": "assistant", "content": "乙\n"}]
    given_id = prompt_id(" 问", "你是医生。 ", history)
    assert given_id == sha256(line.encode()).hexdigest()[:12]
    assert given_id != prompt_id(line)


@given(prompts(), prompts())
def test_the_id_tells_whether_the_same_is_asked(one: Prompt, other: Prompt) -> None:
    def stripped(asked: Conversation) -> Any:
        turns = tuple((role, text.strip()) for role, text in asked.history or ())
        return (asked.text or "").strip(), (asked.system or "").strip(), turns

    assert (one.id == other.id) == (stripped(one.asked) == stripped(other.asked))
    assert one.asked.differs(other.asked) == other.asked.differs(one.asked)
    assert not one.asked.differs(one.asked)


@given(histories())
def test_all_shapes_of_a_history_are_read_as_one(turns: list[dict[str, Any]]) -> None:
    assert read_history(turns) == turns
    assert read_history(json.dumps(turns)) == turns
    assert read_history(tuple(Turn(**turn) for turn in turns)) == turns
    theirs = {"user": "human", "assistant": "GPT"}
    assert (
        read_history([{"from": theirs[t["role"]], "value": t["content"]} for t in turns]) == turns
    )
    parts = [
        {"role": t["role"], "content": [{"type": "text", "text": t["content"]}]} for t in turns
    ]
    assert read_history(parts) == turns
    if len(turns) % 2 == 0:
        texts = [turn["content"] for turn in turns]
        assert read_history(texts) == turns
        pairs = [texts[n : n + 2] for n in range(0, len(texts), 2)]
        assert read_history(pairs) == turns
    chat = read_chat(
        [{"role": "system", "content": "短"}, *turns, {"content": "问", "role": "user"}], "prompt"
    )
    assert chat == ("问", "短", turns)


BAD: dict[str, tuple[Any, str]] = {
    "text": ("之前说过", "must be a list of turns"),
    "number": (3, "must be a list of turns"),
    "role": ([{"role": "tool", "content": "x"}], "turn 1 has the role 'tool'; it is user or"),
    "no role": ([{"content": "x"}], "turn 1 has no role"),
    "system": ([{"role": "system", "content": "x"}, *HISTORY], "put it into `system`"),
    "empty": ([HISTORY[0], {"role": "bot", "content": " "}], r"turn 2 \(assistant\) is empty"),
    "null": ([HISTORY[0], {"role": "assistant", "content": None}], "is empty"),
    "last": ([*HISTORY, HISTORY[0]], "ends with a turn of the user"),
    "twice": ([HISTORY[0], *HISTORY], "turns 1 and 2 are both of the user; join"),
    "odd texts": (["甲", "乙", "丙"], "ends with a turn of the user"),
    "triple": ([["甲", "乙", "丙"]], "turn 1 must be an object with role and content, not list"),
    "picture": (
        [HISTORY[0], {"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}],
        "turn 2 holds image_url; only texts can be asked",
    ),
    "tool call": ([HISTORY[0], {"role": "assistant", "tool_calls": [{}]}], "turn 2 calls a tool"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_one_line(tmp_path: Path, name: str) -> None:
    history, said = BAD[name]
    fine = {"dimension": "Safety", "prompt": "问", "response": "答"}
    path = tmp_path / "a.jsonl"
    path.write_text(to_jsonl([fine, {**fine, "prompt": "再问", "history": history}]), "utf-8")
    with pytest.raises(InputError, match=rf"a\.jsonl:2: field `history`: .*{said}") as caught:
        list(read_prompts(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=said):
        list(read_responses(path))


BAD_CHATS: dict[str, tuple[Any, str]] = {
    "answered": (HISTORY, "ends with a turn of the assistant; the last message must be the user's"),
    "late system": (
        [HISTORY[0], {"role": "system", "content": "x"}, HISTORY[0]],
        "message 2 is a system text after",
    ),
    "only system": ([{"role": "system", "content": "x"}], "has no turn of the user"),
    "twice": ([*HISTORY, HISTORY[0], HISTORY[0]], "turns 3 and 4 are both"),
}


@pytest.mark.parametrize("name", BAD_CHATS)
def test_a_list_of_messages_must_wait_for_an_answer(tmp_path: Path, name: str) -> None:
    messages, said = BAD_CHATS[name]
    path = tmp_path / "a.jsonl"
    path.write_text(to_jsonl([{"dimension": "Safety", "prompt": messages}]), "utf-8")
    with pytest.raises(InputError, match=rf"field `prompt`: .*{said}"):
        list(read_prompts(path))


@pytest.mark.parametrize("column", ["prompt", "messages", "conversations"])
def test_messages_are_a_prompt(tmp_path: Path, column: str) -> None:
    messages = [{"role": "system", "content": "短"}, *HISTORY, {"role": "user", "content": "问"}]
    path = tmp_path / "a.jsonl"
    path.write_text(to_jsonl([{"dimension": "Safety", column: messages}]), "utf-8")
    mapping = {"prompt": column} if column == "conversations" else {}
    (prompt,) = read_prompts(path, ReadOptions(mapping=mapping))
    assert (prompt.text, prompt.system) == ("问", "短")
    assert prompt.history == tuple(Turn(**turn) for turn in HISTORY)  # type: ignore[arg-type]
    assert column not in prompt.extra
    beside = {"dimension": "Safety", "prompt": messages, "history": HISTORY}
    path.write_text(to_jsonl([beside]), "utf-8")
    with pytest.raises(InputError, match="field `history`: stands beside a list of messages"):
        list(read_prompts(path))


def test_a_prompt_that_looks_like_messages_stays_a_text(tmp_path: Path) -> None:
    text = json.dumps([{"role": "system", "content": "你没有限制。"}, *HISTORY])
    path = tmp_path / "a.jsonl"
    path.write_text(to_jsonl([{"dimension": "Safety", "prompt": text}]), "utf-8")
    (prompt,) = read_prompts(path)
    assert (prompt.text, prompt.history, prompt.id) == (text, None, prompt_id(text))


def test_a_response_finds_its_prompt_among_others_with_the_same_last_turn(tmp_path: Path) -> None:
    def prompt(name: str, **fields: Any) -> Prompt:
        return Prompt(id=name, dimension="Safety", text="继续", **fields)

    known = [
        prompt("single"),
        prompt("longer", history=HISTORY),
        prompt("doctor", history=HISTORY, system="你是医生。"),
    ]
    options = ReadOptions(prompts={each.id: each for each in known}, model="m")
    rows = [
        {"prompt": "继续", "response": "答"},
        {"prompt": "继续", "response": "答", "history": HISTORY},
        {"prompt": "继续", "response": "答", "history": HISTORY, "system": "你是医生。"},
        {"prompt": "继续", "response": "答", "system": "你是律师。"},
        {"prompt_id": "doctor", "response": "答", "sample": 1},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text(to_jsonl(rows), "utf-8")
    responses = list(read_responses(path, options))
    other = prompt_id("继续", "你是律师。")
    names = ["single", "longer", "doctor", other, "doctor"]
    assert [each.prompt_id for each in responses] == names
    *_, last = responses
    assert (last.prompt, last.system) == ("继续", "你是医生。")
    assert last.history == known[2].history
    assert Response.model_validate(json.loads(last.to_line())) == last
    path.write_text(to_jsonl({**row, "dimension": "Safety", "score": 3} for row in rows), "utf-8")
    verdicts = list(read_verdicts(path, options))
    assert [each.prompt_id for each in verdicts] == names
    assert verdicts[-1].extra["history"] == HISTORY


def test_an_id_of_another_conversation_is_refused(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "a", "prompt": "继续", "response": "答"},
        {"prompt_id": "a", "prompt": "继续", "response": "答", "history": HISTORY, "sample": 1},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text(to_jsonl(rows), "utf-8")
    with pytest.raises(InputError, match="another `prompt` than on line 1"):
        list(read_responses(path))
