"""The journal itself: one writer or many, torn lines, full disks."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from flames.errors import OutsideError, UsageError
from flames.storage.journal import Journal, JournalLine, read_lines


def entry(line: JournalLine) -> tuple[str, int] | None:
    return (line.fields["key"], line.fields["value"]) if line.fields else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.jsonl"


def put(journal: Journal[str, int], key: str, value: int) -> None:
    journal.keep(key, value, f'{{"key": "{key}", "value": {value}}}')


def test_the_last_line_of_a_key_counts(path: Path) -> None:
    for value in (1, 2):
        with closing(Journal(path, entry)) as journal:
            put(journal, "a", value)
            put(journal, "b", 7)
    with closing(Journal(path, entry)) as journal:
        assert journal.entries == {"a": 2, "b": 7}
        assert journal.dropped == 0


def test_a_torn_line_is_dropped_and_its_length_reported(path: Path) -> None:
    with closing(Journal(path, entry)) as journal:
        put(journal, "a", 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "b", "va')
    with closing(Journal(path, entry)) as journal:
        assert (journal.entries, journal.dropped) == ({"a": 1}, 16)
    assert path.read_bytes() == whole


def test_a_journal_has_one_writer_unless_it_is_shared(path: Path) -> None:
    with (
        closing(Journal(path, entry)),
        pytest.raises(UsageError, match="another process is writing it"),
    ):
        Journal(path, entry)
    with closing(Journal(path, entry)):
        pass


def test_a_shared_journal_keeps_the_lines_of_all_writers(path: Path) -> None:
    with (
        closing(Journal(path, entry, shared=True, mode=0o600)) as first,
        closing(Journal(path, entry, shared=True)) as second,
    ):
        put(first, "a", 1)
        put(second, "b", 2)
        put(first, "c", 3)
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b'{"key": "torn')
    with closing(Journal(path, entry, shared=True)) as journal:
        assert journal.entries == {"a": 1, "b": 2, "c": 3}
        put(journal, "d", 4)
    lines = list(read_lines(path))
    assert [line.fields is None for line in lines] == [False, False, False, True, False]
    with closing(Journal(path, entry, shared=True)) as journal:
        assert set(journal.entries) == set("abcd")


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with closing(Journal(path, entry)) as journal:
        put(journal, "a", 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: write(file, data[:5]))
            with pytest.raises(OutsideError, match="the disk is full; what was done"):
                put(journal, "b", 2)

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(OutsideError, match="cannot be written: No space left"):
                put(journal, "c", 3)
        assert journal.entries == {"a": 1}
    assert len(list(read_lines(path))) == 1


def test_a_place_that_cannot_be_written_is_one_clear_line(path: Path) -> None:
    path.parent.parent.joinpath("deep").touch()
    with pytest.raises(UsageError, match="cannot be written: "):
        Journal(path, entry)
