from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foreign_files as make
import pytest
from foreign_files import jsonl, whole
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.errors import InputError, MissingExtraError
from flames.records import Prompt, prompt_id
from flames.storage.foreign import eval_archive
from flames.storage.record_files import ReadOptions, read_responses, read_verdicts
from flames.storage.rows import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::flames.errors.Notice")

TALK = [{"role": "user", "content": "问"}, {"role": "assistant", "content": [{"type": "image"}]}]
WHOLE: dict[str, tuple[str, Any]] = {
    "lm-eval": ("a.jsonl", make.lm_eval("答", "又", asked=json.dumps(TALK))),
    "OpenCompass": ("a.json", make.opencompass(["一", "二"], asked=["问", "再"])),
    "Inspect": ("a.json", make.inspect_log(make.inspect([{"type": "text", "text": "答"}]))),
    "promptfoo": ("a.json", make.promptfoo_output(make.promptfoo([{"text": "答"}]))),
    "batch": ("a.jsonl", make.batch(reasoning_content="想")),
}
_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text()
_JSON = st.recursive(
    _SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=4,
)


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if way:
        yield way
    listed = enumerate(value) if isinstance(value, list) else ()
    for name, each in value.items() if isinstance(value, dict) else listed:
        yield from _places(each, (*way, name))


@pytest.mark.parametrize("tool", WHOLE)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_value_anywhere_is_read_or_refused(tmp_path: Path, tool: str, data: Any) -> None:
    name, document = WHOLE[tool]
    document = copy.deepcopy(document)
    *way, last = data.draw(st.sampled_from(list(_places(document))))
    inside = document
    for step in way:
        inside = inside[step]
    if data.draw(st.booleans()):
        inside[last] = data.draw(_JSON)
    else:
        del inside[last]
    (tmp_path / name).write_bytes(jsonl(document))
    for read in (read_responses, read_verdicts):
        try:
            for record in read(tmp_path / name):
                record.to_line()
        except InputError:
            continue


@pytest.mark.parametrize("tool", WHOLE)
def test_what_a_row_says_is_kept(tmp_path: Path, tool: str) -> None:
    name, document = WHOLE[tool]
    (tmp_path / name).write_bytes(jsonl(document))
    options = ReadOptions(requests={"a": {"prompt": "问", "system": "短"}})
    first, *_ = read_responses(tmp_path / name, options)
    assert first.extra["read_as"]
    model = {"Inspect": "openai/gpt-4o", "promptfoo": "openai:gpt-4o", "batch": "gpt-4o-mini"}
    assert first.model == model.get(tool, "a")
    if tool == "batch":
        assert (first.reasoning, first.extra["system_prompt"]) == ("想", "短")
        assert first.created == "2024-08-28T15:14:49+00:00"
    if tool == "promptfoo":
        assert first.usage == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        assert first.latency_s == 0.012
        assert first.extra["scores"] == {"score": 1}
    if tool == "lm-eval":
        assert first.prompt == "user: 问\n\nassistant: [image]"
        assert first.extra["scores"] == {"bypass": 999}


def test_only_a_score_that_says_so_is_on_our_scale(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    scores = {"accuracy": {"value": 1}, "flames": {"value": 3, "explanation": "拒绝"}}
    path.write_bytes(whole(make.inspect_log(make.inspect(scores=scores))))
    (verdict,) = read_verdicts(path)
    assert (verdict.score, verdict.scorer, verdict.rationale) == (3, "flames", "拒绝")
    assert verdict.extra["scores"] == {"accuracy": 1, "flames": 3}
    scores = {"accuracy": {"value": 1}}
    path.write_bytes(whole(make.inspect_log(make.inspect(scores=scores))))
    with pytest.raises(InputError, match=r"has neither `score` nor `predicted`.*scores\.accuracy"):
        list(read_verdicts(path))
    mapping = {"score": "scores.accuracy.value"}
    (verdict,) = read_verdicts(path, ReadOptions(mapping=mapping))
    assert verdict.score == 1  # the user says that it is
    named = make.promptfoo(namedScores={"flames": 2}, gradingResult={"componentResults": [
        {"assertion": {"metric": "flames"}, "reason": "含糊"}, {"assertion": None}]})  # fmt: skip
    path.write_bytes(whole(make.promptfoo_output(named)))
    (verdict,) = read_verdicts(path)
    assert (verdict.score, verdict.rationale) == (2, "含糊")
    row = make.lm_eval("答", metrics=["flames"], flames=3)
    (tmp_path / "a.jsonl").write_bytes(jsonl(row, make.lm_eval("答", metrics=["flames"], number=1)))
    first, second = read_verdicts(tmp_path / "a.jsonl")
    assert (first.score, second.score, second.unscored) == (3, None, "no score")


def test_the_model_stands_where_the_tool_puts_it(tmp_path: Path) -> None:
    (tmp_path / "predictions" / "qwen2-7b").mkdir(parents=True)
    path = tmp_path / "predictions" / "qwen2-7b" / "flames.json"
    path.write_bytes(whole(make.opencompass("答")))
    assert [r.model for r in read_responses(path)] == ["qwen2-7b"]
    path = tmp_path / "samples_flames_2026-11-29T10-00-00.123456.jsonl"
    path.write_bytes(jsonl(make.lm_eval("答")))
    assert [r.model for r in read_responses(path, ReadOptions(model="given"))] == ["given"]
    results = tmp_path / "results_2026-11-29T10-00-00.123456.json"
    results.write_text('{"model_name": "org/model"}', "utf-8")
    assert [r.model for r in read_responses(path)] == ["org/model"]
    results.write_text("{", "utf-8")
    assert [r.model for r in read_responses(path)] == [path.stem]


def test_a_text_finds_the_id_of_its_known_prompt(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl({"prompt": "问\r\n", "response": "答"}))
    prompts = {i: Prompt(id=i, dimension="Safety", text=t) for i, t in [("p1", "问"), ("p2", "他")]}
    (response,) = read_responses(path, ReadOptions(prompts=prompts))
    assert (response.prompt_id, response.dimension) == ("p1", "Safety")
    prompts["p3"] = Prompt(id="p3", dimension="Fairness", text="问")
    (response,) = read_responses(path, ReadOptions(prompts=prompts))
    assert (response.prompt_id, response.dimension) == (prompt_id("问"), None)


def test_our_own_rows_are_never_taken_for_others(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    own = {"prompt_id": "p", "model": "m", "response": "答", **make.lm_eval("x")}
    path.write_bytes(jsonl(own))
    (row,) = read_rows(path)
    assert row.fields == own
    path.write_bytes(jsonl(make.lm_eval("答")))
    assert next(read_rows(path, as_is=True)).fields == make.lm_eval("答")


def test_a_member_beyond_the_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eval_archive, "MOST_BYTES", 2000)
    path = tmp_path / "a.eval"
    path.write_bytes(make.eval_log(make.inspect("答" * 900), packing=zipfile.ZIP_STORED))
    with pytest.raises(InputError, match="has more than"):
        list(read_rows(path))
    path.write_bytes(make.eval_log(make.inspect("答")))
    assert len(list(read_rows(path))) == 1


def test_an_archive_packed_with_zstandard_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.eval"
    raw = make.zstandard_log(make.inspect("答"), make.inspect("再"))
    path.write_bytes(raw)
    assert [r.response for r in read_responses(path)] == ["答", "再"]
    path.write_bytes(raw.replace(b"\x28\xb5\x2f\xfd", b"\x00\x00\x00\x00", 1))
    with pytest.raises(InputError, match="cannot be unpacked"):
        list(read_responses(path))


def test_parquet_holds_rows_of_any_kind(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    row = {"prompt": "问", "response": None, "dimension": "Safety", "x": float("nan"), "l": [["y"]]}
    path.write_bytes(make.parquet_file([row]))
    assert next(read_rows(path)).fields == {**row, "x": None}
    path.write_bytes(make.parquet_file([make.lm_eval("答"), make.lm_eval("又", number=1)]))
    assert [r.response for r in read_responses(path)] == ["答", "又"]
    path.rename(tmp_path / "other")  # its first bytes tell what it is
    assert len(list(read_rows(tmp_path / "other"))) == 2
    path.write_bytes(b"PAR1" + b"x" * 40)
    with pytest.raises(InputError, match="is no readable Parquet file"):
        list(read_rows(path))
    path.write_bytes(make.parquet_file([{"prompt": b"\xff"}]))
    with pytest.raises(InputError, match="field `prompt`: holds bytes that are no text"):
        list(read_rows(path))


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match="reading Parquet needs the extra `table`"):
        list(read_rows(tmp_path / "a.parquet"))
