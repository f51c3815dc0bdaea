"""Checksums of files, and the cache of those of large files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from flames.errors import InputError
from flames.storage import checksums
from flames.storage.checksums import file_sha256
from flames.storage.home import home


@pytest.mark.parametrize("large", [0, 2**24])
def test_a_checksum_follows_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(checksums, "LARGE", large)
    path, other = tmp_path / "w.bin", tmp_path / "a.bin"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        for _ in range(2):
            assert file_sha256(path) == hashlib.sha256(content).hexdigest()
    other.write_bytes(b"one")
    assert file_sha256(other) == hashlib.sha256(b"one").hexdigest()
    with pytest.raises(InputError, match="no such file"):
        file_sha256(tmp_path / "none")
    with pytest.raises(InputError, match="is a directory"):
        file_sha256(tmp_path)


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "LARGE", 3)
    path = tmp_path / "w.bin"
    path.write_bytes(b"one")
    first = file_sha256(path)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert file_sha256(path) == first
    [note] = (home() / "checksums").iterdir()
    note.write_bytes(b"{torn")
    assert file_sha256(path) == first
    (tmp_path / "small").write_bytes(b"a")
    file_sha256(tmp_path / "small")
    assert len(os.listdir(note.parent)) == 1


def test_a_cache_that_cannot_be_used_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "LARGE", 0)
    (tmp_path / "file").write_bytes(b"one")
    monkeypatch.setenv("FLAMES_HOME", str(tmp_path / "file"))
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"one").hexdigest()
