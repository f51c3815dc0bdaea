"""Backups of a project that is being served."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from annotating import Visitor, label, served, server_process

from flames.annotation import backup, export, open_project, verify
from flames.errors import UsageError


def test_a_backup_holds_every_label_so_far(tmp_path: Path, make_local: Any, flames: Any) -> None:
    project = make_local()
    with served(project) as base, Visitor(base, project.links["Ann"]) as ann:
        ann.get("/work")
        for _ in range(9):
            assert ann.post("/work", do="3", rationale="理由") == 200
        before = verify(project)
        code, out, err = flames("annotate", "backup", tmp_path / "project", "--out",
                                tmp_path / "copy")  # fmt: skip
        assert (code, out) == (0, "")
        assert before.hash in err
        wanted = export(project).text
        assert ann.post("/work", do="3") == 200  # she goes on
    assert (tmp_path / "copy" / "labels.db").stat().st_mode & 0o777 == 0o600
    assert sorted(f.name for f in (tmp_path / "copy").iterdir()) == ["labels.db", "project.json"]
    with open_project(tmp_path / "copy") as copy:
        assert verify(copy) == before
        assert export(copy).text == wanted
    with sqlite3.connect(tmp_path / "copy" / "labels.db") as raw:
        assert raw.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_a_restored_project_is_served(tmp_path: Path, make_local: Any) -> None:
    project = make_local(public_url="https://example.org/label")
    label(project, "Ann", count=5)
    backup(project, tmp_path / "copy")
    label(project, "Ann")
    project.close()
    shutil.rmtree(tmp_path / "project")
    shutil.copytree(tmp_path / "copy", tmp_path / "project")
    with open_project(tmp_path / "project") as restored:
        assert restored.link("x") == "https://example.org/label/join/x"
    with (
        server_process(tmp_path / "project") as (_, base),
        Visitor(base, project.links["Ann"]) as ann,
    ):
        ann.get("/work")
        assert ann.post("/work", do="3") == 200
    with open_project(tmp_path / "project") as restored:
        assert verify(restored).labels == 6
        assert verify(restored).problems == ()


def test_nothing_is_overwritten(tmp_path: Path, make_local: Any, flames: Any) -> None:
    make_local()
    (tmp_path / "copy").mkdir()
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "copy", tmp_path / "project", tmp_path / "file",
                tmp_path / "file" / "copy"):  # fmt: skip
        code, _, err = flames("annotate", "backup", tmp_path / "project", "--out", out)
        assert code == 2
        assert err.count("\n") == 1
        assert str(out) in err
    code, _, err = flames("annotate", "backup", tmp_path / "project")
    assert code == 2
    assert "--out" in err


def test_a_copy_that_is_not_sound_is_told(tmp_path: Path, make_local: Any, flames: Any) -> None:
    project = make_local()
    with project.database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET taken = 1 WHERE id = 1")
    code, _, err = flames("annotate", "backup", tmp_path / "project", "--out", tmp_path / "copy")
    assert code == 1
    assert "not sound" in err


def test_a_variable_does_not_lead_the_check_astray(
    tmp_path: Path, make_local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_local()
    monkeypatch.setenv("FLAMES_ANNOTATE_DATABASE", "sqlite:////nonexistent/labels.db")
    assert backup(project, tmp_path / "copy").problems == ()


@pytest.mark.postgres
def test_postgresql_has_its_own_tool(postgres_url: str, clock: Any, tmp_path: Path) -> None:
    from annotating import projects

    with (
        projects(tmp_path, clock, postgres_url) as make,
        pytest.raises(UsageError, match=r"pg_dump .*--format custom"),
    ):
        backup(make(), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
