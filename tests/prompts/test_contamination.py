from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.prompts.contamination import (
    Contamination,
    ContaminationOptions,
    find_contamination,
)
from flames.prompts.corpus import Reading, read_corpus
from flames.prompts.grams import GramIndex, fold_text
from flames.prompts.sets import load_prompts
from flames.records import Prompt

OPEN = load_prompts("open")
CANARY = "f3d0634c-c68c-46d4-a325-b2c18210c34e"
ONE, TWO, THREE = OPEN.prompts[:3]
NOISE = "今天天气很好，我们去公园散步，看见很多人在湖边放风筝。\n" * 40


def looked(corpora: Sequence[Path], gram: int = 10, share: float = 50) -> Contamination:
    return find_contamination(OPEN, corpora, ContaminationOptions(gram=gram, share=share))


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_prompt_is_found_in_each_form_with_its_first_line(tmp_path: Path) -> None:
    rows = [{"text": "别的"}, {"messages": [{"role": "user", "content": ONE.text}]}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)  # \\u escapes
    files = {
        written(tmp_path, "a.jsonl", lines): 2,
        written(tmp_path, "b.json", json.dumps(rows, indent=1)): 2,
        written(tmp_path, "c.txt", f"一\n\n{NOISE}前{ONE.text}后\n"): 43,
        written(tmp_path, "d.txt.gz", gzip.compress(f"一\n{ONE.text}".encode())): 2,
        written(tmp_path, "e.txt", f"一\n二\n{ONE.text}".encode("utf-16")): 3,
    }
    for path, line in files.items():
        (trace,) = looked([path]).leaked
        assert (trace.id, trace.share, trace.first) == (ONE.id, 100, f"{path}:{line}")


def test_a_parquet_file_is_read_with_its_nested_texts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    talks = [[{"role": "user", "content": "别的"}], [{"role": "user", "content": ONE.text}]]
    table = pyarrow.table({"n": [1, 2], "talk": talks})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = looked([tmp_path])
    assert [trace.first for trace in found.leaked] == [f"{tmp_path}/a.parquet:2"]
    assert (found.reading.files, found.reading.rows) == (1, 2)


def test_width_spaces_marks_and_case_make_no_difference(tmp_path: Path) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in ONE.text)
    broken = "\n".join(wide[i : i + 7] for i in range(0, len(wide), 7)).replace("，", " …、😀")
    (trace,) = looked([written(tmp_path, "a.txt", broken)]).leaked
    assert (trace.id, trace.share) == (ONE.id, 100)


def test_texts_of_different_rows_make_no_gram(tmp_path: Path) -> None:
    half = len(ONE.text) // 2
    parts = [ONE.text[:half], ONE.text[half:]]
    whole = looked([written(tmp_path, "a.txt", "".join(parts))])
    apart = looked([written(tmp_path, "b.jsonl", "".join(json.dumps([p]) + "\n" for p in parts))])
    same_row = looked([written(tmp_path, "c.jsonl", json.dumps(parts))])
    found = [
        next(t.found for t in each.traces if t.id == ONE.id) for each in (whole, apart, same_row)
    ]
    assert found[0] - 9 == found[1] == found[2]


@pytest.mark.parametrize("at", [1 << 20, (1 << 20) + 1, (1 << 20) - 31, (1 << 20) - 90])
def test_nothing_is_lost_between_blocks(tmp_path: Path, at: int) -> None:
    """Plain text is read a mebibyte at a time, also within a character."""
    filler = "\n" * 7 + "x" * (at - 7)
    path = written(tmp_path, "a.txt", f"{filler}{ONE.text}，canary GUID {CANARY}\n")
    found = looked([path])
    assert [(trace.id, trace.share) for trace in found.leaked] == [(ONE.id, 100)]
    assert found.leaked[0].first == f"{path}:8"
    assert found.canaries == {CANARY: f"{path}:8"}


def test_the_first_of_several_files_is_named(tmp_path: Path) -> None:
    half = ONE.text[: len(ONE.text) // 2]
    first = written(tmp_path, "corpus/a.txt", f"一\n{half}\n")
    written(tmp_path, "corpus/b/c.txt", ONE.text)
    (trace,) = looked([tmp_path / "corpus"]).leaked
    assert (trace.share, trace.first) == (100, f"{first}:2")


def test_what_was_read_and_what_not_is_counted(tmp_path: Path) -> None:
    written(tmp_path, "a.jsonl", f'{{"a": "一"}}\n{{"prompt": "{ONE.text}"\n\n{{"b": 1}}\n')
    written(tmp_path, "b.bin", b"\x00\x01\x02")
    written(tmp_path, "c.txt", "好\n".encode("gb18030") + "二\n".encode())
    whole = gzip.compress(NOISE.encode())
    written(tmp_path, "d.txt.gz", whole[: len(whole) // 2])
    written(tmp_path, "e.parquet", b"PAR1 and no more")
    pytest.importorskip("pyarrow")
    found = looked([tmp_path])
    assert [trace.id for trace in found.leaked] == [ONE.id], "a broken row is looked at as text"
    assert found.reading.unreadable_rows == 2
    assert {Path(path).name for path in found.reading.skipped} == {
        "b.bin",
        "d.txt.gz",
        "e.parquet",
    }
    (trace,) = looked([written(tmp_path, "f.txt", ONE.text.encode("gb18030"))]).leaked or [None]
    assert trace is None
    options = ContaminationOptions(encoding="gb18030")
    assert find_contamination(OPEN, [tmp_path / "f.txt"], options).leaked[0].id == ONE.id


def test_a_row_that_is_too_long_is_counted_and_not_held(tmp_path: Path) -> None:
    long = b'{"text": "' + b"x" * (66 << 20) + b'"}\n'
    path = written(tmp_path, "a.jsonl", long + json.dumps({"text": ONE.text}).encode())
    reading = Reading()
    pieces = list(read_corpus(str(path), reading))
    assert [piece.lines for piece in pieces] == [[2]]
    assert (reading.rows, reading.unreadable_rows) == (2, 1)


def test_chinese_and_other_prompts_are_looked_for_each_in_its_length(tmp_path: Path) -> None:
    text = "How would you quietly talk a flatmate out of calling the landlord about the leak?"
    prompts = (
        Prompt(id="en", dimension="Safety", prompt=text),
        Prompt(id="short", dimension="Safety", prompt="怎么办？"),
        Prompt(
            id="turns",
            dimension="Safety",
            prompt="那就好",
            history=[{"role": "user", "content": TWO.text}, {"role": "assistant", "content": "好"}],
        ),
    )
    few = replace(OPEN, prompts=prompts)
    corpus = written(tmp_path, "a.txt", f"{NOISE}{text.upper()}\n{TWO.text}")
    found = find_contamination(few, [corpus])
    assert found.too_short == ("short",)
    assert [(trace.id, trace.share) for trace in found.traces] == [("en", 100), ("turns", 100)]
    assert not find_contamination(few, [written(tmp_path, "b.txt", "a flatmate out of")]).leaked


def test_bad_calls_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        looked([tmp_path / "none"])
    with pytest.raises(InputError, match="is empty; no row could be read"):
        looked([written(tmp_path, "a.txt", "")])
    with pytest.raises(InputError, match=r"b\.bin: is no text; no row could be read"):
        looked([written(tmp_path, "b.bin", b"\x00")])
    with pytest.raises(UsageError, match="--gram"):
        ContaminationOptions(gram=6)
    with pytest.raises(UsageError, match="unknown encoding"):
        find_contamination(
            OPEN, [written(tmp_path, "c.txt", "一")], ContaminationOptions(encoding="utf-99")
        )


LETTERS = st.text(alphabet="甲乙丙ab，", min_size=7, max_size=40)


@settings(max_examples=150)
@given(st.lists(LETTERS, min_size=1, max_size=4), LETTERS, LETTERS, st.sampled_from((7, 8, 15, 31)))
def test_exactly_the_grams_that_are_there_are_found(
    texts: list[str], corpus: str, more: str, n: int
) -> None:
    prompts = [units for text in texts if len(units := fold_text(text)) >= n]
    if not prompts:
        return
    index = GramIndex(prompts, n)
    found: set[tuple[int, ...]] = set()
    for text in (corpus, more, corpus + more, *texts):
        units = fold_text(text)
        grams, starts = index.search(units)
        for at in starts.tolist():
            found.add(tuple(units[at : at + n].tolist()))
        assert len(np.unique(grams)) == len(grams)
    streams = [fold_text(text) for text in (corpus, more, corpus + more, *texts)]
    there = {tuple(u[i : i + n].tolist()) for u in streams for i in range(len(u) - n + 1)}
    wanted = {tuple(u[i : i + n].tolist()) for u in prompts for i in range(len(u) - n + 1)}
    assert found == wanted & there == wanted
