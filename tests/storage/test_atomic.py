"""Files and folders that appear whole or not at all, what a killed writer leaves, and locks."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run

from flames.errors import UsageError
from flames.scorers.scoring import VerdictJournal
from flames.storage.atomic import folder_atomic, locked, to_csv, to_jsonl, write_atomic
from flames.storage.locks import lock

FILL = """
import sys
from flames.storage.atomic import folder_atomic
with folder_atomic(sys.argv[1]) as made:
    (made / "half").write_text("?")
    print("here", flush=True)
    sys.stdin.read()
"""


def writer(target: Path) -> subprocess.Popen[str]:
    """A process that is in the middle of writing the folder."""
    run = subprocess.Popen(
        [sys.executable, "-c", FILL, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "here\n"
    return run


def fill(target: Path, text: str) -> None:
    with folder_atomic(target) as made:
        (made / "file").write_text(text)


def fail(target: Path) -> None:
    with folder_atomic(target) as made:
        (made / "file").write_text("new")
        raise ZeroDivisionError


def test_it_replaces_what_stands_there_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    for text in ("one", "two"):
        fill(target, text)
        assert [(each.name, each.read_text()) for each in target.iterdir()] == [("file", text)]
    assert os.listdir(target.parent) == ["folder"]


def test_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "old")
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "folder")
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_what_a_killed_writer_left_is_cleared_away_and_a_living_one_is_left_alone(
    tmp_path: Path,
) -> None:
    target = tmp_path / "folder"
    with writer(target) as run:
        with pytest.raises(UsageError, match="another process is writing it"):
            fill(target, "mine")
        run.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path) == [".folder.new"]
    fill(target, "mine")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(target) == ["file"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    place = tmp_path / ".folder.new"
    for name in ("old", "made"):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_text(name)
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "folder")
    assert (tmp_path / "folder" / "file").read_text() == "made"


def test_ctrl_c_between_the_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "folder", "old")
    rename = os.replace

    def interrupted(source: Path, target: Path) -> None:
        rename(source, target)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "folder", "new")
    assert (tmp_path / "folder" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["folder"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "new"


def test_a_place_that_cannot_be_written_to_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        fill(tmp_path / "file" / "folder", "?")


def test_a_lock_is_of_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert lock(first, path)
    assert not lock(second, path)
    path.rename(tmp_path / "moved")
    os.close(first)
    assert not lock(second, path), "its writer renamed it"
    os.close(second)


@pytest.mark.parametrize("writer", ["folder", "run", "scoring"])
def test_a_file_system_without_locks_is_told(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    entered = {
        "folder": folder_atomic(tmp_path / "new"),
        "run": locked(tmp_path),
        "scoring": VerdictJournal(tmp_path / "out.jsonl", "s@1", "scored", None),
    }[writer]
    with pytest.raises(UsageError, match=r"has no locks: No locks available.*--no-lock"):
        entered.__enter__()


def test_without_locks_it_is_written_all_the_same_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    source, out = tmp_path / "r.jsonl", tmp_path / "v.jsonl"
    row = {"dimension": "Safety", "prompt": "问", "response": "这样不合适。", "model": "m"}
    write_atomic(source, to_jsonl([row]))
    command = ("score", source, "--scorer", "lexical", "--out", out)
    assert run(*command) == 2
    assert "--no-lock" in capsys.readouterr().err
    assert run(*command, "--no-lock") == 0
    assert capsys.readouterr().err.count("has no locks") == 1
    assert len(out.read_text("utf-8").splitlines()) == 1


def test_an_atomic_write_leaves_no_neighbour_and_replaces_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_atomic(path / "below a file", "x")
    assert path.read_text() == "two"


def test_large_data_is_written_part_by_part(tmp_path: Path) -> None:
    target = tmp_path / "large"
    assert write_atomic(target, (part for part in (b"ab", b"", b"cd"))) == target
    assert target.read_bytes() == b"abcd"

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.EIO, "broken")

    with pytest.raises(UsageError, match="cannot be written: broken"):
        write_atomic(target, broken())
    assert [path.name for path in tmp_path.iterdir()] == ["large"]
    assert target.read_bytes() == b"abcd"


def test_csv_output_neutralises_formulas() -> None:
    text = to_csv([{"a": "=cmd", "b": None, "c": 1}], ["a", "b", "c"])
    assert text == "a,b,c\n'=cmd,,1\n"
