from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.loading import load_labels, load_sources
from flames.errors import InputError, UsageError
from flames.metrics.rates import measure
from flames.metrics.result import Note
from flames.metrics.source import Source
from flames.prompts.sets import load_prompts
from flames.records import Key, Prompt, PromptSetInfo, prompt_id
from flames.storage.manifest import Manifest
from flames.storage.record_files import ReadOptions
from flames.storage.run_start import create_run


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_the_released_scorers_output_without_prompts(tmp_path: Path) -> None:
    rows = [
        {"dimension": "Virtue", "predicted": 3},
        {"dimension": "data_protection", "predicted": 1},
    ]
    [source] = load_sources(write(tmp_path / "gpt_predicted.jsonl", rows))
    assert (source.model, source.scorer) == ("gpt_predicted", "predicted")
    assert [verdict.dimension for verdict in source.verdicts] == ["Morality", "Data protection"]
    assert (source.prompt_set.name, source.prompt_set.of) == ("gpt_predicted", "ids")
    assert source.prompt_set.n == 2
    assert not source.joinable


def test_models_and_scorers_and_annotators_are_never_pooled(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "a", "dimension": "Legality", "model": model, "scorer": scorer, "score": 3}
        | ({"annotator": annotator} if annotator else {})
        for model in ("x", "y")
        for scorer, annotator in (("s@1", None), ("human", "ann"), ("human", "bo"))
    ]
    path = write(tmp_path / "mixed.jsonl", rows)
    sources = load_sources(path)
    assert [(s.model, s.scorer) for s in sources] == [
        (model, scorer) for model in ("x", "y") for scorer in ("s@1", "human:ann", "human:bo")
    ]
    assert all(len(source.verdicts) == 1 for source in sources)
    assert [s.model for s in load_sources(path, scorer="s")] == ["x", "y"]
    with pytest.raises(UsageError, match="no verdicts of the scorer 't'; there are: s@1, human"):
        load_sources(path, scorer="t")


def test_notes_that_verdicts_carry_are_told_but_not_believed_blindly(tmp_path: Path) -> None:
    row = {"dimension": "Legality", "model": "x", "scorer": "mine@1", "score": 3}
    carried: list[Any] = [
        ["trained on little"],
        ["trained on little", "\x1b[31mred" * 99],
        "no",
        [7],
    ]
    rows = [
        {**row, "prompt_id": str(number), "scorer_notes": notes}
        for number, notes in enumerate(carried)
    ]
    [source] = load_sources(write(tmp_path / "v.jsonl", rows))
    assert [note.code for note in source.notes] == ["card.none", "claim.none", "text", "text"]
    assert str(source.notes[2]) == "trained on little"
    assert "\x1b" not in str(source.notes[3])
    assert len(str(source.notes[3])) <= 400
    many = [{**row, "prompt_id": str(n), "scorer_notes": [f"note {n}"]} for n in range(99)]
    [source] = load_sources(write(tmp_path / "many.jsonl", many))
    assert len(source.notes) == 2 + 8


def test_thinking_that_a_foreign_scorer_judged_is_told(tmp_path: Path) -> None:
    row = {"dimension": "Safety", "response": "<think>想</think>答", "predicted": 3}
    rows = [{**row, "prompt": "一"}, {**row, "prompt": "二", "predicted": None}]
    rows.append({**row, "prompt": "三", "response": "答"})
    [source] = load_sources(write(tmp_path / "m_predicted.jsonl", rows))
    none = Note("card.none", scorer="predicted"), Note("claim.none")
    assert source.notes == (*none, Note("thinking_scored", n=1))
    assert source.verdicts[0].score == 3


def test_text_is_carried_along_and_prompts_are_known(tmp_path: Path) -> None:
    row = {
        "dimension": "Safety",
        "prompt": "怎么办",
        "response": "不行",
        "finish_reason": "length",
        "score": 2,
    }
    [source] = load_sources(write(tmp_path / "m.jsonl", [row]))
    [key] = source.responses
    assert key.prompt_id == prompt_id("怎么办")
    assert source.responses[key].response == "不行"
    assert source.responses[key].status == "truncated"
    assert source.prompts[key.prompt_id].text == "怎么办"
    assert source.joinable
    assert measure(source).overall.coverage.truncated == 1


def test_truncated_responses_can_be_left_out(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": name, "dimension": "Safety", "score": 3, "status": status}
        for name, status in (("a", "ok"), ("b", "truncated"))
    ]
    [source] = load_sources(write(tmp_path / "m.jsonl", rows), truncated="unscored")
    assert [verdict.unscored for verdict in source.verdicts] == [None, "truncated"]
    coverage = measure(source).overall.coverage
    assert (coverage.scored, coverage.truncated, coverage.answered) == (1, 1, 2)


def test_a_known_set_is_named_and_a_part_of_one_says_so(tmp_path: Path) -> None:
    whole = load_prompts("open")
    rows = [{"prompt_id": prompt.id, "score": 3} for prompt in whole.prompts]
    [source] = load_sources(write(tmp_path / "all.jsonl", rows))
    assert source.prompt_set == whole.info
    assert source.notes == ()
    [source] = load_sources(write(tmp_path / "part.jsonl", rows[:200]))
    assert (source.prompt_set.name, source.prompt_set.n) == ("open", 200)
    assert source.prompt_set.ids_sha256 != whole.info.ids_sha256
    assert source.notes == (Note("part_of_set", n=200, total=240, name="open@1"),)


def test_sets_that_number_other_prompts_alike_are_not_one(tmp_path: Path) -> None:
    def source(name: str, *texts: str | None) -> Source:
        rows = [{"prompt_id": str(n), "prompt": text, "dimension": "Safety", "score": 3}
                for n, text in enumerate(texts)]  # fmt: skip
        rows = [{k: v for k, v in row.items() if v is not None} for row in rows]
        [found] = load_sources(write(tmp_path / name, rows))
        return found

    first = source("a.jsonl", "甲", "乙").prompt_set
    assert source("b.jsonl", "丙", "丁").prompt_set.sha256 != first.sha256
    assert source("c.jsonl", "乙 ", "甲").prompt_set.ids_sha256 == first.ids_sha256
    assert source("d.jsonl", None, None).prompt_set.ids_sha256 != first.ids_sha256
    file = write(tmp_path / "set.jsonl", [
        {"id": "x", "prompt": "甲", "dimension": "Safety"},
        {"id": "y", "prompt": "乙", "dimension": "Safety"},
    ])  # fmt: skip
    assert load_prompts(str(file)).ids_sha256 == first.ids_sha256


def test_silver_labels_give_a_source_a_responder() -> None:
    sources = load_sources("labels:silver")
    assert len({source.model for source in sources}) == len(sources) == 7
    assert all("synthetic" in str(source.notes[0]) for source in sources)


def test_bad_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(InputError, match=r"empty\.jsonl: holds no verdicts"):
        load_sources(empty)
    off = write(tmp_path / "off.jsonl", [{"dimension": "Legality", "predicted": 2}])
    with pytest.raises(InputError, match=r"off\.jsonl:1: field `predicted`: must be 3 or 1"):
        load_sources(off)
    with pytest.raises(InputError, match="no such file"):
        load_sources(tmp_path / "none.jsonl", options=ReadOptions(model="m"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four prompts asked twice each: one response failed, one was never asked."""
    prompts = [
        Prompt(id=name, dimension="Safety", subcomponent="Mental harm", text=f"问 {name}")
        for name in "abcd"
    ]
    info = PromptSetInfo(name="four", sha256="0" * 64, n=4, ids_sha256="1" * 64)
    manifest = Manifest(
        model="m",
        spec="preset/m",
        asked={},
        prompt_set=info,
        prompts_sha256="",
        samples=2,
        taxonomy="flames@1",
        created="2026-11-22T00:00:00Z",
        code_version="0",
    )
    folder = tmp_path / "run"
    journal = [
        {"prompt_id": prompt.id, "model": "m", "sample": sample, "response": "好", "status": "ok"}
        for prompt in prompts
        for sample in range(2)
    ]
    journal[6] |= {"response": None, "status": "error"}
    create_run(folder, manifest, prompts)
    write(folder / "responses.jsonl", journal[:7])
    return folder


def verdicts_for(run: Path, scorer: str, keys: list[tuple[str, int]], **extra: Any) -> None:
    rows = [
        {"prompt_id": name, "model": "m", "sample": sample, "dimension": "Safety"}
        | {"scorer": scorer, "score": 3, "status": "ok"}
        | extra
        for name, sample in keys
    ]
    (run / "verdicts").mkdir(exist_ok=True)
    write(run / "verdicts" / f"{scorer.replace('@', '-')}.jsonl", rows)


def test_a_run_says_what_was_never_asked_or_scored(run: Path) -> None:
    with pytest.raises(UsageError, match="no verdicts yet; flames score"):
        load_sources(run)
    verdicts_for(run, "s@1", [("a", 0), ("a", 1), ("b", 0)])
    [source] = load_sources(run)
    assert (source.model, source.scorer, source.samples) == ("m", "s@1", 2)
    assert source.prompt_set.name == "four"
    assert len(source.verdicts) == 8
    assert [verdict.unscored for verdict in source.verdicts] == [
        None, None, None, "not scored", "not scored", "not scored", "error", "not asked"
    ]  # fmt: skip
    coverage = measure(source).overall.coverage
    assert (coverage.prompts, coverage.answered, coverage.scored) == (8, 6, 3)
    assert coverage.unscored == {"error": 1, "not asked": 1, "not scored": 3}
    assert source.responses[Key("a", "m", 1)].response == "好"
    assert source.prompts["a"].text == "问 a"


def test_a_run_has_a_source_for_each_of_its_scorers(run: Path) -> None:
    verdicts_for(run, "s@1", [("a", 0)])
    verdicts_for(run, "t@2", [("a", 0), ("b", 0)])
    sources = load_sources(run)
    assert [(s.scorer, len(s.verdicts)) for s in sources] == [("s@1", 8), ("t@2", 8)]
    assert [sum(v.score is not None for v in s.verdicts) for s in sources] == [1, 2]
    assert load_sources(run, scorer="t")[0].scorer == "t@2"
    with pytest.raises(UsageError, match="no verdicts of the scorer 'u'"):
        load_sources(run, scorer="u")


def test_a_verdict_on_an_earlier_failure_does_not_stand(run: Path) -> None:
    verdicts_for(run, "s@1", [("a", 0)], score=None, unscored="error", status="error")
    [source] = load_sources(run)
    assert source.verdicts[0].unscored == "not scored"


def test_a_foreign_verdict_in_a_run_is_refused(run: Path) -> None:
    verdicts_for(run, "s@1", [("z", 0)])
    with pytest.raises(InputError, match=r"verdict on prompt 'z', .* which this run does not ask"):
        load_sources(run)


def test_labels_name_the_line_that_lacks_its_probability(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt_id": name, "dimension": "Safety", "score": 3, "inclusion_probability": 0.5}
        for name in "abc"
    ]
    path = write(tmp_path / "labels.jsonl", rows)
    assert len(load_labels(path)) == 3
    del rows[1]["inclusion_probability"]
    write(path, rows)
    with pytest.raises(InputError, match=r"labels\.jsonl:2: field `inclusion_probability`: is mi"):
        load_labels(path)
    assert len(load_labels(path, random_sample=True)) == 3
    path.write_text("")
    with pytest.raises(InputError, match="holds no labels"):
        load_labels(path)
