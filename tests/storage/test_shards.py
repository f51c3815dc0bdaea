"""Shards: folders, patterns and remote files as one stream of responses."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import run
from score_rows import read_lines, response_rows, write_rows

from flames.errors import InputError, UsageError
from flames.storage.record_files import ReadOptions
from flames.storage.shards import Shards, opened_files, read_files


def test_a_folder_a_pattern_and_one_file_give_the_same_lines(tmp_path: Path) -> None:
    rows = response_rows(20, model="m")
    whole = write_rows(tmp_path, rows, "whole.jsonl")
    folder = tmp_path / "shards [new]"
    folder.mkdir()
    for part in range(3):
        write_rows(folder, rows[part::3], f"part-{part}.jsonl")
    (folder / "notes.txt").write_text("no shard")
    made = {}
    for name, target in (("folder", folder), ("pattern", tmp_path / "sh*" / "part-?.jsonl")):
        out = tmp_path / f"{name}.jsonl"
        assert run("score", target, "--out", out, "--scorer", "lexical") == 0
        made[name] = out.read_bytes()
    assert made["folder"] == made["pattern"]
    assert run("score", whole, "--out", tmp_path / "w.jsonl", "--scorer", "lexical") == 0
    lines = sorted(read_lines(tmp_path / "folder.jsonl"), key=lambda line: line["note"])
    assert lines == read_lines(tmp_path / "w.jsonl")


def test_rows_without_a_model_take_the_folders_name(tmp_path: Path) -> None:
    folder = tmp_path / "qwen"
    folder.mkdir()
    write_rows(folder, response_rows(2), "0.jsonl")
    with opened_files(str(folder)) as files:
        assert {r.model for r in read_files(files, ReadOptions())} == {"qwen"}


def test_a_response_in_two_shards_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = response_rows(4, model="m")
    write_rows(tmp_path, rows, "a.jsonl")
    write_rows(tmp_path, rows[3:], "b.jsonl")
    assert run("score", tmp_path, "--out", tmp_path / "o.jsonl", "--scorer", "lexical") == 2
    told = capsys.readouterr().err
    assert "b.jsonl: has a response with the same prompt, model and sample as" in told
    assert "a.jsonl: p3, m, 0" in told
    write_rows(tmp_path, [{**rows[3], "prompt": "另一个问题", "sample": 1}], "b.jsonl")
    assert run("score", tmp_path, "--out", tmp_path / "o.jsonl", "--scorer", "lexical") == 2
    assert "another prompt" in capsys.readouterr().err
    assert not list(tmp_path.glob("o.*"))


def test_a_bad_row_is_named_with_its_shard_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    write_rows(folder, response_rows(3), "0.jsonl")
    (folder / "1.jsonl").write_text(
        '{"prompt": "问", "response": "答", "dimension": "Safety"}\n{\n'
    )
    assert run("score", folder, "--out", tmp_path / "o.jsonl", "--scorer", "lexical") == 2
    assert "1.jsonl:2: is no JSON" in capsys.readouterr().err


def test_remote_shards_are_read_through_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the extra scale")
    memory = fsspec.filesystem("memory")
    rows = response_rows(7, model="m")
    for part in range(2):
        local = write_rows(tmp_path, rows[part::2], f"{part}.jsonl")
        memory.pipe_file(f"/bucket/run/{part}.jsonl", local.read_bytes())
    memory.pipe_file("/bucket/run/readme.md", b"#")
    found = {}
    for target in ("memory://bucket/run", "memory://bucket/run/*.jsonl"):
        with opened_files(target) as files:
            assert isinstance(files, Shards)
            copies = files.files
            found[target] = [r.prompt_id for r in read_files(files, ReadOptions())]
            with pytest.raises(InputError, match=r"^memory://.*/bucket/run/0\.jsonl:1: "):
                list(read_files(files, ReadOptions(mapping={"model": "prompt.x"})))
        assert not any(Path(path).exists() for path in copies)
    assert sorted(found["memory://bucket/run"]) == [row["prompt_id"] for row in rows]
    assert len(set(map(tuple, found.values()))) == 1
    with opened_files("memory://bucket/run/1.jsonl") as files:
        assert [r.prompt_id for r in read_files(files, ReadOptions())] == ["p1", "p3", "p5"]
    for wrong, error in (
        ("memory://bucket/none.jsonl", InputError),
        ("memory://bucket/no*", InputError),
        ("nosuch://bucket/x", UsageError),
    ):
        with pytest.raises(error, match="://bucket/"), opened_files(wrong):
            pass
