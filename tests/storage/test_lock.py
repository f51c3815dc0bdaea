"""Locks: one writer at a time, and file systems that have none."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from flames.errors import UsageError
from flames.scorers.scoring import VerdictJournal
from flames.storage.atomic import folder_atomic, lock, locked


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
    with pytest.raises(UsageError, match="its file system has no locks: No locks available"):
        entered.__enter__()
