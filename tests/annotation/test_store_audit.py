"""The events: chained, append-only, enough to derive everything else; and the schema."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from annotating import Clock, label, person_id, responses, write
from sqlalchemy import text

from flames.annotation import (
    Project,
    ProjectPlan,
    create_project,
    export,
    open_project,
    verify,
    work,
)
from flames.annotation.database import Database, metadata
from flames.errors import InputError, OutsideError, UsageError


def change(project: Project, statement: str) -> None:
    with project.database.write() as connection:
        assert connection.exec_driver_sql(statement).rowcount


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE events SET data = replace(data, '\"score\":3', '\"score\":1') WHERE seq = 13",
         "event 13 does not follow"),
        ("DELETE FROM events WHERE seq = 12", "event 12 is missing"),
        ("UPDATE events SET person = 2 WHERE seq = 14", "event 14 does not follow"),
        ("UPDATE events SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 14", "14 is older"),
        ("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)", "the last event should"),
        ("UPDATE assignments SET score = 1 WHERE state = 'labelled'",
         "score: the table says 1, the events say 3"),
        ("UPDATE assignments SET state = 'waiting' WHERE state = 'labelled'",
         "state: the table says 'waiting', the events say 'labelled'"),
        ("UPDATE items SET taken = 0 WHERE taken > 0", "places taken of item"),
        ("UPDATE items SET response = replace(response, 'alpha', 'gamma')", "not those that were"),
        ("UPDATE items SET stratum_size = 1000 WHERE id = 1", "the items are not those"),
        ("UPDATE people SET name = 'Eve' WHERE name = 'Ann'",
         "name: the table says 'Eve', the events say 'Ann'"),
        ("UPDATE settings SET value = replace(value, '\"per_item\":2', '\"per_item\":3')",
         "the settings are not"),
    ],
)  # fmt: skip
def test_verify_finds_what_was_tampered_with(make_project: Any, statement: str, said: str) -> None:
    project = make_project()
    label(project, "Ann", count=5)
    assert verify(project).problems == ()
    change(project, statement)
    with open_project(project.path) as again:
        problems = verify(again).problems
    assert any(said in problem for problem in problems), problems


def test_a_rewritten_history_shows_in_its_hash(make_project: Any) -> None:
    project = make_project()
    label(project, "Ann", count=2)
    before = verify(project)
    label(project, "Ann", count=1)
    after = verify(project)
    assert after.events == before.events + 2
    assert after.hash != before.hash
    assert export(project, until=before.events).hash == before.hash


def test_an_export_up_to_a_moment_never_changes(make_project: Any, clock: Clock) -> None:
    project = make_project()
    label(project, "Ann", count=6)
    label(project, "Bob", 1, count=3)
    then = clock().isoformat()
    made = {what: export(project, what) for what in ("all", "majority", "dawid-skene")}
    clock.pass_(days=2)
    for _ in range(3):
        work.undo(project, person_id(project, "Ann"))
    label(project, "Bob", count=4)
    for what, before in made.items():
        assert export(project, what).text != before.text
        for until in (before.seq, str(before.seq), then, before.at):
            again = export(project, what, until=until)
            assert again.text == before.text
            assert (again.seq, again.hash) == (before.seq, before.hash)
    day = clock.now - timedelta(days=1)
    assert export(project, until=f"{day:%Y-%m-%d}").text == made["all"].text


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("9999", "the last event so far is number"),
        ("0", "there was no event"),
        ("2020-01-01", "there was no event"),
        ("2030-01-01", "not over yet"),
        ("yesterday", "takes an event number or a time"),
    ],
)
def test_moments_that_cannot_be_reproduced_are_refused(
    make_project: Any, until: str, said: str
) -> None:
    project = make_project()
    with pytest.raises(InputError, match=said):
        export(project, until=until)


def test_time_never_runs_backwards(make_project: Any, clock: Clock) -> None:
    project = make_project()
    label(project, "Ann", count=1)
    clock.pass_(days=-3)
    label(project, "Ann", count=2)
    assert verify(project).problems == ()


def test_a_project_is_made_once(make_project: Any, tmp_path: Any, database_url: Any) -> None:
    project = make_project()
    label(project, "Ann", count=1)
    plan = ProjectPlan(sources=[tmp_path / "responses.jsonl"], database=database_url)
    with pytest.raises(UsageError, match="already holds the project 'project'"):
        create_project(project.path, plan)
    if database_url is not None:
        with pytest.raises(UsageError, match="already holds the project 'project'"):
            create_project(tmp_path / "elsewhere", plan)
    assert verify(project).problems == ()


def test_an_init_that_failed_leaves_no_half_project(
    tmp_path: Any, database_url: Any, make_project: Any
) -> None:
    source = write(tmp_path / "responses.jsonl", responses())
    broken = ProjectPlan(sources=[source], database=database_url, annotators=("Ann", "ann"))
    with pytest.raises(UsageError, match="there is already a 'ann'"):
        create_project(tmp_path / "project", broken)
    with pytest.raises(InputError, match="cut short"):
        open_project(tmp_path / "project")
    assert verify(make_project()).problems == ()


def test_the_migrations_make_the_schema(tmp_path: Any, database_url: Any) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(database_url or f"sqlite:///{tmp_path / 'new.db'}")
    database.migrate()
    database.migrate()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="newer Flames"):
        database.migrate()
    database.close()


def test_a_password_is_not_written_down(postgres_url: str, tmp_path: Any) -> None:
    source = write(tmp_path / "responses.jsonl", responses())
    secret = postgres_url.replace("flames@", "flames:geheim@") + "&password=geheim"
    created = create_project(tmp_path / "project", ProjectPlan(sources=[source], database=secret))
    created.project.close()
    assert "geheim" not in (tmp_path / "project" / "project.json").read_text("utf-8")
    with open_project(tmp_path / "project") as project:
        assert verify(project).problems == ()
        assert "geheim" not in project.database.place


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite://", "postgres"])
def test_other_databases_are_refused(url: str, tmp_path: Any) -> None:
    source = write(tmp_path / "responses.jsonl", responses())
    with pytest.raises(UsageError, match="--database takes"):
        create_project(tmp_path / "project", ProjectPlan(sources=[source], database=url))


def test_a_database_that_is_away_is_told(tmp_path: Any) -> None:
    source = write(tmp_path / "responses.jsonl", responses())
    url = f"postgresql://someone:geheim@/x?host={tmp_path}"
    with pytest.raises(OutsideError, match="the database failed") as caught:
        create_project(tmp_path / "project", ProjectPlan(sources=[source], database=url))
    assert "geheim" not in str(caught.value)


def test_folders_that_are_no_projects_are_told(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="is not an annotation project"):
        open_project(tmp_path)
    (tmp_path / "project.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match="is damaged"):
        open_project(tmp_path)
    (tmp_path / "project.json").write_text('{"database": "labels.db"}', "utf-8")
    with pytest.raises(InputError, match="is missing"):
        open_project(tmp_path)
