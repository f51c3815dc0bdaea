"""`verify` notices a change of any single row, in any column of any table that is derived."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from annotating import AS_THE_FIRST_VERSION, Clock, known, label, person_id, responses, write

from flames.annotation import (
    Project,
    access,
    adjudication,
    marks,
    open_project,
    people,
    verify,
    void,
    work,
    write_sheet,
)
from flames.annotation.database import metadata
from flames.annotation.lead_options import AddOptions, BatchOptions, VoidOptions
from flames.annotation.options import DecisionOptions, SheetOptions
from flames.annotation.tasks import Task
from flames.errors import FlamesError
from flames.storage.record_files import ReadOptions

sa: Any = pytest.importorskip("sqlalchemy", reason="needs the extra `annotate`")

LATER = "2027-01-01T00:00:00.000000Z"

# Columns of one row, and what nobody may put there unnoticed: a value of SQL.
VALUES = {
    "people": {
        "name": "'Eve'", "name_key": "'eve'", "role": "'lead'", "active": "1 - active",
        "lang": "'zh'", "link_hash": "'forged'", "password_hash": "'forged'", "held": "'controls'",
        "cleared": "cleared + 1", "link_until": f"'{LATER}'", "link_once": "1",
        "quota": "quota + 1", "guideline": "guideline + 1",
    },
    "assignments": {
        "person": "(SELECT id FROM people WHERE name = 'Cat')", "kind": "'control'",
        "position": "9999", "state": "'flagged'", "ticket": "'forged'", "since": f"'{LATER}'",
        "expires": f"'{LATER}'", "score": "2", "rationale": "'forged'", "seq": "seq + 1",
    },
    "adjudications": {
        "person": "(SELECT id FROM people WHERE name = 'lead')", "state": "'leased'",
        "ticket": "'forged'", "since": f"'{LATER}'", "expires": f"'{LATER}'", "score": "2",
        "reason": "'forged'", "seq": "seq + 1",
    },
    "items": {
        "ref": "'forged'", "kind": "'training'",
        "dimension": "CASE dimension WHEN 'Safety' THEN 'Legality' ELSE 'Safety' END",
        "subcomponent": "'forged'", "response": "replace(response, 'alpha', 'gamma')",
        "gold": "2", "explanation": "'forged'", "stratum": "'forged'",
        "stratum_drawn": "stratum_drawn + 1", "stratum_size": "stratum_size + 1",
        "quota": "quota + 1", "taken": "taken + 1", "probability": "0.5", "added": "added + 1",
        "batch": "'forged'", "suggestion": "suggestion - 1",
    },
    "guidelines": {
        "version": "version + 10", "zh": "'forged'", "en": "'forged'", "person": "person + 1",
        "at": f"'{LATER}'",
    },
    "batches": {"name": "'forged'", "person": "(SELECT id FROM people WHERE name = 'Bob')"},
    "comments": {
        "seq": "seq + 50", "item": "item + 1", "person": "person + 1", "addressee": "person",
        "text": "'forged'", "at": f"'{LATER}'",
    },
    "events": {
        "at": f"'{LATER}'", "kind": "'forged'", "person": "person + 1", "item": "item + 1",
        "data": "replace(data, 'answer', 'forged')", "hash": "'forged'",
    },
    "chain": {"id": "2", "seq": "seq + 1", "at": f"'{LATER}'", "hash": "'forged'"},
    "settings": {
        "name": "'forged'", "value": "replace(value, '\"per_item\":2', '\"per_item\":3')",
    },
}  # fmt: skip

LABELLED = "state = 'labelled' AND kind = 'work' AND score = 3"
ROWS = {
    "people": "name = 'Ann'",
    "assignments": f"(person, item) = (SELECT person, item FROM assignments WHERE {LABELLED} "
                   "AND person = (SELECT id FROM people WHERE name = 'Ann') LIMIT 1)",
    "adjudications": "state = 'settled'",
    "items": "id = 1",
    "guidelines": "version = 1",
    "batches": "person = (SELECT id FROM people WHERE name = 'Eva')",
    "comments": "seq = (SELECT min(seq) FROM comments)",
    "events": "seq = (SELECT max(seq) FROM events WHERE kind = 'labelled')",
    "chain": "id = 1",
    "settings": "name = 'project'",
}  # fmt: skip


def one(state: str, *more: str) -> str:
    where = " AND ".join([f"state = '{state}'", *more])
    return f"(person, item) = (SELECT person, item FROM assignments WHERE {where} LIMIT 1)"


# Other rows, and rows that are gone or too many.
OTHERS = [
    f"DELETE FROM assignments WHERE {one('waiting')}",
    f"DELETE FROM assignments WHERE {one('labelled')}",
    f"DELETE FROM assignments WHERE {one('offline')}",
    f"UPDATE assignments SET position = position + 100 WHERE {one('waiting')}",
    f"UPDATE assignments SET position = NULL WHERE {one('waiting')}",
    f"UPDATE assignments SET kind = 'training' WHERE {one('waiting')}",
    f"UPDATE assignments SET ticket = 'forged' WHERE {one('waiting', 'ticket IS NULL')}",
    f"UPDATE assignments SET rationale = 'forged' WHERE {one('waiting')}",
    f"UPDATE assignments SET since = '{LATER}' WHERE {one('leased')}",
    f"UPDATE assignments SET expires = '{LATER}' WHERE {one('leased')}",
    f"UPDATE assignments SET state = 'waiting' WHERE {one('voided')}",
    f"UPDATE assignments SET score = 1 WHERE {one('voided', 'score = 3')}",
    f"UPDATE assignments SET state = 'leased' WHERE {one('offline')}",
    f"UPDATE assignments SET rationale = 'x' WHERE {one('flagged')}",
    f"UPDATE assignments SET score = 1 WHERE {one('skipped')}",
    f"UPDATE assignments SET position = 3 WHERE {one('labelled', 'position IS NULL')}",
    "DELETE FROM adjudications WHERE state = 'settled'",
    "DELETE FROM adjudications WHERE state = 'leased'",
    "UPDATE adjudications SET reason = 'forged' WHERE state = 'leased'",
    "UPDATE people SET held = NULL WHERE held IS NOT NULL",
    "UPDATE people SET link_hash = NULL WHERE name = 'Bob'",
    "UPDATE people SET password_hash = NULL WHERE name = 'Ann'",
    "INSERT INTO people (id, name, name_key, role, active) VALUES (99, 'Eve', 'eve', 'lead', 1)",
    "INSERT INTO settings (name, value) VALUES ('forged', 'x')",
    "INSERT INTO assignments (person, item, kind, state) VALUES (2, 1, 'work', 'waiting')",
    "DELETE FROM chain",
    "DELETE FROM events WHERE seq = 7",
    "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
    "UPDATE events SET data = '[]' WHERE seq = 5",
    "UPDATE events SET data = '{' WHERE seq = 5",
    "UPDATE events SET data = '{}' WHERE kind = 'labelled'",
    "UPDATE items SET response = '{' WHERE id = 1",
    "UPDATE items SET taken = 0 WHERE taken > 0",
    "UPDATE items SET batch = NULL WHERE batch IS NOT NULL",
    "UPDATE items SET added = 0 WHERE added > 0",
    "UPDATE items SET suggestion = NULL WHERE suggestion = 1",
    "UPDATE items SET response = replace(response, 'alpha', 'beta') WHERE added > 0",
    "DELETE FROM assignments WHERE item = (SELECT max(id) FROM items) AND state = 'waiting'",
    "DELETE FROM guidelines WHERE version = 2",
    "DELETE FROM comments",
    "DELETE FROM batches",
    "INSERT INTO batches (name, person) VALUES ('one', 2)",
    "DELETE FROM settings WHERE name = 'rules'",
    "UPDATE settings SET value = replace(value, 'true', 'false') WHERE name = 'rules'",
]

STATEMENTS = [
    *(f"UPDATE {table} SET {column} = {value} WHERE {ROWS[table]}"
      for table, columns in VALUES.items() for column, value in columns.items()),
    *OTHERS,
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite project in which everything has happened, copied by each test."""
    from annotating import projects

    folder = tmp_path_factory.mktemp("store")
    controls = write(folder / "controls.jsonl", known(8))
    training = write(folder / "training.jsonl", known(2, "train"))
    with projects(folder, Clock()) as make:
        project = make(
            responses(12), controls=(controls,), control_rate=0.5, pass_controls=0.9,
            training=(training,), annotators=("Ann", "Bob", "Eva", "Zoe"), per_item=2,
        )  # fmt: skip
        _live(project)
        assert verify(project).problems == ()
    return folder / "project"


def _live(project: Project) -> None:
    from flames.annotation import import_labels

    number = iter(range(1000))

    def score(task: Task) -> int:
        return task.dimension.scale[0 if next(number) % 3 else -1]

    ann, bob, cat, zoe = (person_id(project, name) for name in ("Ann", "Bob", "Cat", "Zoe"))
    label(project, "Ann", 3, rationale="why")
    write_sheet(project, "Zoe", SheetOptions(items=2))
    label(project, "Zoe", 3, count=6)
    void(project, "Zoe", VoidOptions(reason="too fast"))
    assert work.current(project, zoe) is not None
    label(project, "Eva", score)
    marks.release(project, "Eva")
    label(project, "Eva", score, count=1)
    for what in ("skip", "flag", "label"):
        task = work.current(project, bob)
        assert task is not None
        work.answer(project, bob, task.ticket, what, score=3 if what == "label" else None)
    label(project, "Bob", 1)
    work.undo(project, bob)
    file = write(project.path / "old.jsonl", [{**responses(1)[0], "score": 3, "annotator": "Old"}])
    import_labels(project, file)
    open_cases = adjudication.open_cases(project)
    assert len(open_cases) > 1
    adjudication.decide_item(project, DecisionOptions("Cat", open_cases[0].ref, "3", "because"))
    assert adjudication.current_case(project, cat) is not None
    _lead(project)
    access.give_password(project, "Ann", "a good passphrase")
    with project.database.write() as connection:
        person = people.get_person(connection, "Ann")
        people.set_language(connection, project, person, "en")
    task = work.current(project, ann)
    if task is None:
        work.undo(project, ann)


def _lead(project: Project) -> None:
    """Everything that a lead can decide on the way."""
    from flames.annotation import add_items, batches, comments, rules, suggestions

    folder = project.path.parent
    people.set_quota(project, "Ann", 30)
    for text in ("first", "second"):
        rules.publish_guideline(project, f"# {text}", text)
    rules.read_guideline(project, person_id(project, "Ann"), 1)
    more = [{**row, "prompt_id": f"more-{row['prompt_id']}"} for row in responses(3, ("alpha",))]
    add_items(project, AddOptions(sources=(str(write(folder / "more.jsonl", more)),)))
    rows = [*responses(12), *known(8), *more]
    scores = [{**row, "score": 1 + 2 * (n % 2)} for n, row in enumerate(rows)]
    file = write(folder / "scores.jsonl", [{**row, "scorer": "S"} for row in scores])
    suggestions.show_suggestions(project, file, ReadOptions())
    rules.set_flag_reason(project, True)
    batches.assign_batch(project, "one", BatchOptions(people=("Eva", "Zoe"), count=2))
    with project.database.read() as connection:
        mine = connection.exec_driver_sql(
            "SELECT ref FROM items JOIN assignments ON item = id "
            f"WHERE state = 'labelled' AND person = {person_id(project, 'Ann')}"
        )
        ref = mine.scalars().first()
    comments.comment(project, "Ann", ref, "why?")
    comments.comment(project, "lead", ref, "because", "Ann")


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    import shutil

    target = tmp_path / "project"
    shutil.copytree(store, target)
    return target


def change(folder: Path, statement: str) -> None:
    """Changes the file behind the back of everything."""
    engine = sa.create_engine(f"sqlite:///{folder / 'labels.db'}")
    with engine.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount, "the statement changes nothing"
    engine.dispose()


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_change_is_noticed(copy: Path, flames: Any, statement: str) -> None:
    change(copy, statement)
    code, out, err = flames("annotate", "verify", copy)
    assert code == (2 if "settings SET name" in statement else 1), (out, err)
    assert "Traceback" not in out + err
    assert "forged" not in err or "link" not in statement


def test_no_column_is_left_out() -> None:
    """Tables that need no proof are named; every other column is changed above."""
    own = {"sessions", "failures"}  # they serve signing in alone
    keys = {("people", "id"), ("assignments", "item"), ("adjudications", "item"), ("items", "id"),
            ("events", "seq")}  # fmt: skip
    for table in metadata.sorted_tables:
        if table.name not in own:
            for column in table.columns:
                named = column.name in VALUES[table.name]
                assert named or (table.name, column.name) in keys, f"{table.name}.{column.name}"


def test_what_was_done_by_the_rules_is_sound(copy: Path, flames: Any) -> None:
    code, out, err = flames("annotate", "verify", copy)
    assert (code, err) == (0, "")
    assert re.search(r"\d+ events, 37 items", out), out


def test_the_seals_tell_nothing(store: Path) -> None:
    with open_project(store) as project, project.database.read() as connection:
        events = str(connection.exec_driver_sql("SELECT * FROM events").all())
        row = connection.exec_driver_sql(
            "SELECT link_hash, password_hash FROM people WHERE name = 'Ann'"
        ).one()
        tickets = connection.exec_driver_sql(
            "SELECT ticket FROM assignments WHERE ticket IS NOT NULL"
        ).all()
    assert tickets
    for secret in (*row, *(ticket for (ticket,) in tickets)):
        assert secret not in events


def test_every_table_is_compared_on_either_database(make_project: Any) -> None:
    project = make_project(responses(6))
    label(project, "Ann", 3, rationale="why")
    label(project, "Bob", 1)
    adjudication.decide_item(
        project, DecisionOptions("Cat", adjudication.open_cases(project)[0].ref, "3", "because")
    )
    work.undo(project, person_id(project, "Bob"))
    assert verify(project).problems == ()
    changes = [
        "UPDATE assignments SET rationale = 'forged' WHERE score = 3",
        "UPDATE adjudications SET reason = 'forged'",
        "UPDATE people SET link_hash = name_key",
        "UPDATE assignments SET since = '2020-01-01T00:00:00.000000Z' WHERE since IS NOT NULL",
    ]
    for number, statement in enumerate(changes, start=1):
        with project.database.write() as connection:
            assert connection.exec_driver_sql(statement).rowcount
        said = " ".join(verify(project).problems)
        assert verify(project).problems, (number, statement)
        assert "forged" in said or number > 2


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("labels.db", b"not a database at all, but long enough to look like one" * 40, "damaged"),
        ("labels.db", b"", "no project"),
        ("labels.db", b"SQLite format 3\x00" + b"\xff" * 5000, "labels.db"),
        ("project.json", b"\x00\xff garbage", "damaged"),
        ("project.json", b"[]", "damaged"),
    ],
)
def test_a_garbage_file_is_one_line(
    copy: Path, flames: Any, file: str, content: bytes, said: str
) -> None:
    for beside in copy.glob("labels.db-*"):
        beside.unlink()
    (copy / file).write_bytes(content)
    for command in ("verify", "status"):
        code, out, err = flames("annotate", command, copy)
        assert code in (2, 3), err
        assert out == ""
        assert len(err.strip().splitlines()) == 1
        assert said in err


def test_a_damaged_page_of_the_file_is_one_line(copy: Path, flames: Any) -> None:
    for beside in copy.glob("labels.db-*"):
        beside.unlink()
    file = copy / "labels.db"
    whole = file.read_bytes()
    for start in range(4096, len(whole), 8 * 4096):
        file.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        code, _, err = flames("annotate", "verify", copy)
        assert "Traceback" not in err
        assert code in (0, 1, 2, 3), err
        for beside in copy.glob("labels.db-*"):
            beside.unlink()


@pytest.mark.parametrize("value", ["x'ff00fe'", "'zzz'", "-1", "1e300", "'{'", "x''"])
def test_whatever_a_column_holds_there_is_no_traceback(copy: Path, value: str) -> None:
    """SQLite keeps any kind of value in any column."""
    import shutil

    said: list[str] = []
    clean = copy.with_name("clean")
    shutil.copytree(copy, clean)
    for table in metadata.sorted_tables:
        if table.name in ("sessions", "failures"):
            continue
        for column in table.columns:
            shutil.copy(clean / "labels.db", copy / "labels.db")
            engine = sa.create_engine(f"sqlite:///{copy / 'labels.db'}")
            middle = (
                f"SELECT rowid FROM {table.name} ORDER BY rowid LIMIT 1 "
                f"OFFSET (SELECT count(*) / 2 FROM {table.name})"
            )
            changed = f"UPDATE {table.name} SET {column.name} = {value} WHERE rowid = ({middle})"
            try:
                with engine.begin() as connection:
                    connection.exec_driver_sql(changed)
            except sa.exc.IntegrityError:
                continue
            finally:
                engine.dispose()
            try:
                with open_project(copy) as project:
                    assert verify(project).problems, (table.name, column.name)
            except FlamesError as error:
                said.append(str(error))
    assert all(len(each.splitlines()) == 1 for each in said)


def test_people_of_an_older_version_are_sealed_by_the_upgrade(copy: Path, flames: Any) -> None:
    for statement in AS_THE_FIRST_VERSION:
        engine = sa.create_engine(f"sqlite:///{copy / 'labels.db'}")
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
    with open_project(copy) as project:
        last = verify(project).events
        with project.database.read() as connection:
            newest = connection.exec_driver_sql(
                f"SELECT kind, data FROM events WHERE seq > {last - 7}"
            ).all()
    assert {kind for kind, _ in newest} == {"person"}
    assert all('"changed":"sealed"' in data for _, data in newest)
    with open_project(copy) as again:
        assert verify(again).events == last  # once
    change(copy, "UPDATE people SET link_hash = 'forged' WHERE name = 'Bob'")
    code, _, err = flames("annotate", "verify", copy)
    assert code == 1
    assert "link_hash: the table has another than the events" in err
