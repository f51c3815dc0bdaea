from __future__ import annotations

import json
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.prompts.check import check_prompts
from flames.prompts.known import KNOWN_SETS, fetch_prompts
from flames.prompts.sets import identify, known_prompts, load_prompts
from flames.storage.atomic import to_jsonl
from flames.taxonomy import default_taxonomy, load_taxonomy

OPEN = load_prompts("open")


def test_the_bundled_sets_are_whole_and_balanced() -> None:
    assert len(OPEN.prompts) == 240
    assert set(Counter(p.subcomponent for p in OPEN.prompts).values()) == {20}
    quick = load_prompts("quick")
    assert set(Counter(p.subcomponent for p in quick.prompts).values()) == {2}
    assert len(set(Counter(p.technique for p in quick.prompts).values())) == 1
    assert quick.by_id.items() <= OPEN.by_id.items()
    assert OPEN.missing(default_taxonomy()) == ()


def test_a_set_tells_its_name_and_checksums() -> None:
    info = OPEN.info
    assert info.name == "open"
    assert info.sha256 == sha256(OPEN.path.read_bytes()).hexdigest()
    assert info.ids_sha256 == sha256("\n".join(sorted(OPEN.by_id)).encode()).hexdigest()
    assert (info.n, info.limit, info.of) == (240, None, "file")


@given(st.integers(1, 60), st.integers(0, 5))
def test_a_sample_is_balanced_seeded_and_grows(limit: int, seed: int) -> None:
    sample = OPEN.sample(limit, seed)
    assert len(sample.prompts) == limit
    counts = Counter(p.subcomponent for p in sample.prompts)
    present = [counts.get(p.subcomponent, 0) for p in OPEN.prompts]
    assert max(present) - min(present) <= 1
    assert sample.by_id.items() <= OPEN.sample(limit + 7, seed).by_id.items()
    order = [p.id for p in OPEN.prompts]
    assert [p.id for p in sample.prompts] == sorted(sample.by_id, key=order.index)
    assert sample.info.limit == limit
    assert sample.info.sha256 == OPEN.sha256


def test_samples_differ_by_seed_and_a_large_one_is_the_whole() -> None:
    assert OPEN.sample(24, 0).by_id.keys() != OPEN.sample(24, 1).by_id.keys()
    assert OPEN.sample(240) is OPEN
    assert {p.dimension for p in OPEN.sample(5).prompts} == set(default_taxonomy().names)
    with pytest.raises(UsageError):
        OPEN.sample(0)


def test_a_file_is_a_set_named_by_its_stem_wherever_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "三维.jsonl"
    rows = [p.to_dict() for p in OPEN.prompts if p.dimension not in ("Legality", "Safety")]
    file.write_text(to_jsonl(rows), "utf-8")
    found = load_prompts(file)
    assert found.name == "三维"
    assert found.missing(default_taxonomy()) == ("Safety", "Legality")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if os.fork() == 0:
        pipe.write_bytes(file.read_bytes())
        os._exit(0)
    piped = load_prompts(pipe)
    os.wait()
    assert piped.prompts == found.prompts
    assert piped.sha256 == found.sha256


def test_columns_may_be_named_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("类,问题\n合法,怎么办\n".encode("gb18030"))
    found = load_prompts(file, mapping={"prompt": "问题", "dimension": "类"}, encoding="gb18030")
    assert [(p.dimension, p.text) for p in found.prompts] == [("Legality", "怎么办")]


def test_prompt_ids_are_recognised() -> None:
    quick = load_prompts("quick")
    some = set(list(OPEN.by_id)[:100])
    for ids, name in ((set(quick.by_id), "quick"), (set(OPEN.by_id), "open"), (some, "open")):
        found = identify(ids)
        assert found is not None
        assert found.name == name
    assert identify(some | {"another"}) is None
    assert identify(set()) is None
    assert known_prompts().keys() == OPEN.by_id.keys() | load_prompts("borderline").by_id.keys()


def test_known_prompts_of_another_taxonomy_are_none(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    tone = {"name": "Tone", "label": {"zh": "语气", "en": "Tone"}, "scale": [2, 1]}
    file.write_text(json.dumps({"schema": 1, "name": "small", "dimensions": [tone]}))
    assert known_prompts(load_taxonomy(file)) == {}


def test_what_is_no_set_is_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(InputError, match="holds no prompts"):
        load_prompts(empty)
    with pytest.raises(InputError, match="did you mean 'quick'"):
        load_prompts("quik")
    with pytest.raises(InputError, match="no such file, and no prompt set"):
        load_prompts(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is a directory"):
        load_prompts(tmp_path)
    with pytest.raises(UsageError, match="flames prompts fetch flames-1k"):
        load_prompts("flames-1k")


def test_checking_tells_everything_at_once(tmp_path: Path) -> None:
    text = OPEN.prompts[0].text
    rows = [
        {"dimension": "Safety", "subcomponent": "Mental harm", "prompt": text},
        {"dimension": "Safty", "prompt": "a"},
        {"dimension": "Safety", "prompt": f" {text} "},
        {"dimension": "Safety", "prompt": " "},
        {"dimension": "Legality", "prompt": text.replace("，", ",") + "呢"},
    ]
    file = tmp_path / "a.jsonl"
    file.write_text(to_jsonl(rows), "utf-8")
    check = check_prompts(file)
    assert not check.ok
    assert [error.line for error in check.errors] == [2, 3, 4]
    assert len(check.prompts) == 2
    (pair,) = check.near_duplicates
    assert {pair.first, pair.second} == {p.id for p in check.prompts}
    assert 0.8 <= pair.similarity < 1
    assert check.missing_dimensions == ("Fairness", "Morality", "Data protection")
    assert check.subcomponents[("Safety", "Mental harm")] == 1


def test_a_mistake_in_the_columns_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("类别,问题\n" + "安全,怎么办\n" * 9, "utf-8-sig")
    (error,) = check_prompts(file).errors
    assert (error.line, error.field) == (2, "prompt")
    assert "问题" in error.message, "the columns that are there"
    check = check_prompts(file, mapping={"prompt": "问题", "dimension": "类别"})
    assert [error.line for error in check.errors] == list(range(3, 11)), "each repeats line 2"


def test_checking_ends_at_a_line_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"dimension": "Safety", "prompt": "a"}\n{"dimension": \n', "utf-8")
    check = check_prompts(file)
    assert [error.line for error in check.errors] == [2]
    assert "no such file" in check_prompts(tmp_path / "none").errors[0].message
    (tmp_path / "empty").touch()
    assert check_prompts(tmp_path / "empty").errors[0].message == "holds no prompts"


@pytest.mark.parametrize("name", ["open", "quick", "borderline"])
def test_the_bundled_sets_pass_their_own_check(name: str) -> None:
    check = check_prompts(KNOWN_SETS[name].path)
    assert check.ok
    assert check.near_duplicates == []
    assert fetch_prompts(name) == KNOWN_SETS[name].path


def test_borderline_says_what_is_expected_and_holds_each_aspect_often_enough() -> None:
    prompts = load_prompts("borderline").prompts
    assert Counter(prompt.expected for prompt in prompts) == {
        "should_answer": 247,
        "should_refuse": 120,
    }
    aspects = Counter(p.extra["aspect"] for p in prompts if p.expected == "should_answer")
    assert len(aspects) == 13
    assert min(aspects.values()) >= 18


@pytest.mark.shared
def test_the_public_set_is_the_published_one(shared: Path) -> None:
    source = shared / "flames" / "Flames_1k_Chinese.jsonl"
    assert load_prompts(source).name == "flames-1k", "known by its checksum"
    path = fetch_prompts("flames-1k", str(source))
    assert path == KNOWN_SETS["flames-1k"].path
    found = load_prompts("flames-1k")
    assert Counter(p.dimension for p in found.prompts) == {
        "Fairness": 249,
        "Safety": 429,
        "Morality": 201,
        "Legality": 46,
        "Data protection": 75,
    }
    both = known_prompts()
    assert len(both) == 1240 + 367
    found_again = identify(set(found.by_id))
    assert found_again is not None
    assert found_again.name == "flames-1k"
