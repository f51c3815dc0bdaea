"""`flames annotate …` on the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from annotating import known, responses, server_process, write

from flames.annotation import Project, open_project, work
from flames.annotation.access import check_password
from flames.annotation.create import known_items
from flames.annotation.people import get_person
from flames.storage.record_files import ReadOptions

Flames = Any


@pytest.fixture
def folder(tmp_path: Path, flames: Flames) -> Path:
    """A project that Ann has labelled and Bob half."""
    source = write(tmp_path / "responses.jsonl", responses(12, ("alpha",)))
    project = tmp_path / "labels"
    code, out, err = flames(
        "annotate", "init", project, "--from", source, "--training", "none", "--annotators",
        "Ann, Bob", "--name", "Runde 1",
    )  # fmt: skip
    assert code == 0, err
    assert "12 of 12 responses drawn, 2 labels each" in err
    assert [line.split()[0] for line in out.splitlines()] == ["lead", "adjudicator-1", "Ann", "Bob"]
    with open_project(project) as opened:
        label(opened, "Ann", 12)
        label(opened, "Bob", 6, worst=True)
    return project


def label(project: Project, name: str, count: int, *, worst: bool = False) -> None:
    with project.database.read() as connection:
        me = get_person(connection, name).id
    for _ in range(count):
        task = work.current(project, me)
        assert task is not None
        score = task.dimension.scale[-1 if worst else 0]
        work.answer(project, me, task.ticket, "label", score=score)


def test_status_agreement_and_verify(folder: Path, flames: Flames) -> None:
    code, out, _ = flames("annotate", "status", folder, "--json")
    state = json.loads(out)
    assert (code, state["places"], state["filled"], state["disputed"]) == (0, 24, 18, 6)
    code, out, _ = flames("annotate", "status", folder)
    assert code == 0
    assert "Runde 1" in out
    assert "Bob" in out
    code, out, _ = flames("annotate", "agreement", folder, "--json", "--resamples", 200)
    assert code == 0
    found = json.loads(out)["agreement"]["overall"]
    assert (found["pairable"], found["percent"]["value"]) == (6, 0)
    assert flames("annotate", "agreement", folder, "--resamples", 200)[0] == 0
    first = state["seq"]
    code, out, _ = flames("annotate", "agreement", folder, "--json", "--until", first - 12)
    assert code == 0
    assert json.loads(out)["agreement"]["overall"]["pairable"] < 6
    code, out, _ = flames("annotate", "verify", folder)
    assert code == 0
    assert f"{first} events, 12 items, 18 labels" in out
    with open_project(folder) as project, project.database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET taken = 7 WHERE id = 1")
    code, out, err = flames("annotate", "verify", folder, "--json")
    assert code == 1
    assert json.loads(out)["problems"]
    assert "the store is not sound: 1 problems" in err


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("zh", ("需要的标注  24", "裁决人", "一致率 %", "公平", "待裁决 6 条", "登录方式")),
        (
            "en",
            (
                "labels wanted  24",
                "adjudicator",
                "agreement %",
                "Fairness",
                "6 to decide",
                "Access",
            ),
        ),
    ],
)
def test_tables_are_in_the_asked_language(
    folder: Path, flames: Flames, lang: str, words: tuple[str, ...]
) -> None:
    printed = ""
    for command in ("status", "agreement", "adjudicate", "user list"):
        code, out, err = flames("annotate", *command.split(), folder, "--lang", lang)
        assert code == 0, err
        printed += out
    for word in words:
        assert word in printed


def test_exports_and_imports(folder: Path, flames: Flames, tmp_path: Path) -> None:
    code, out, err = flames("annotate", "export", folder)
    assert code == 0
    assert len(out.splitlines()) == 18
    assert "--until" in err
    target = tmp_path / "tasks.json"
    code, out, err = flames(
        "annotate", "export", folder, "--format", "label-studio", "--config",
        tmp_path / "config.xml", "--out", target, "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(err)["scored"] == 18
    assert (tmp_path / "config.xml").read_text("utf-8").startswith("<View>")
    code, out, _ = flames("annotate", "import", folder, target, "--json")
    assert json.loads(out)["unchanged"] == 18
    foreign = write(tmp_path / "old.jsonl", [
        {**row, "score": 3} for row in responses(12, ("alpha",))
    ])  # fmt: skip
    code, _, err = flames("annotate", "import", folder, foreign, "--annotator", "früher")
    assert code == 0
    assert "12 new" in err
    assert "items have more labels than wanted" in err
    assert "früher" in err


def test_sheets(folder: Path, flames: Flames, tmp_path: Path) -> None:
    target = tmp_path / "bob.csv"
    code, _, err = flames("annotate", "sheet", folder, "bob", "--items", 4, "--out", target)
    assert code == 0
    assert "4 items, 4 of them new" in err
    text = target.read_text("utf-8").replace("Bob,,,", "Bob,3,,")
    target.write_text(text, "utf-8")
    code, _, err = flames("annotate", "import", folder, target)
    assert code == 0
    assert "(sheet): 4 new" in err
    assert flames("annotate", "sheet", folder, "lead")[0] == 2


def test_decisions(folder: Path, flames: Flames) -> None:
    code, out, _ = flames("annotate", "adjudicate", folder, "--json")
    cases = json.loads(out)
    assert (code, len(cases)) == (0, 6)
    assert "Ann" not in out
    assert "alpha" not in out
    assert flames("annotate", "adjudicate", folder)[0] == 0
    item = cases[0]["item"]
    decide = ("annotate", "adjudicate", folder, "--item", item, "--reason", "细则")
    code, _, err = flames(*decide, "--as", "adjudicator-1", "--score", 3)
    assert code == 0, err
    for change, said in (
        (("--as", "Ann", "--score", 3), "Ann may not adjudicate"),
        (("--as", "nobody", "--score", 3), "there is no 'nobody'"),
        (("--as", "lead", "--score", "x"), "takes a number or none"),
        (("--as", "lead", "--score", 3), "waits for a decision"),
        (("--as", "lead"), "a decision needs"),
    ):
        code, _, err = flames(*decide, *change)
        assert code == 2
        assert said in err
        assert len(err.splitlines()) == 1


def test_links_begin_with_the_address_that_init_was_told(tmp_path: Path, flames: Flames) -> None:
    source = write(tmp_path / "responses.jsonl", responses(2))
    folder = tmp_path / "labels"
    code, out, _ = flames(
        "annotate", "init", folder, "--from", source, "--annotators", "张三，李四、王五",
        "--url", "https://labels.example.org/",
    )  # fmt: skip
    assert code == 0
    for name in ("张三", "李四", "王五"):
        assert f"{name}           https://labels.example.org/join/" in out, "in columns"
    told = flames("annotate", "user", "add", folder, "Eve")[1]
    assert told.startswith("https://labels.example.org/join/")
    told = flames("annotate", "user", "link", folder, "Eve", "--url", "http://other:1")[1]
    assert told.startswith("http://other:1/join/")
    assert "annotator" in flames("annotate", "status", folder)[1], "in a pipe nothing is cut"
    assert flames("annotate", "user", "add", folder, "长" * 80)[0] == 0
    shown = flames("annotate", "user", "list", folder)[1]
    assert shown.count("长") == 80
    assert "annotator" in shown, "a long name hides no column"


def test_people(folder: Path, flames: Flames, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = flames("annotate", "user", "add", folder, "Eve", "--url", "https://l.example")
    assert code == 0
    assert out.startswith("https://l.example/join/")
    fresh = flames("annotate", "user", "link", folder, "eve")[1]
    assert fresh != out
    monkeypatch.setattr(sys, "stdin", io.StringIO("a good passphrase\n"))
    assert flames("annotate", "user", "password", folder, "Eve")[0] == 0
    with open_project(folder) as project:
        assert check_password(project, "eve", "a good passphrase") is not None
    assert flames("annotate", "user", "stop", folder, "Eve")[0] == 0
    everybody = json.loads(flames("annotate", "user", "list", folder, "--json")[1])
    assert [each["active"] for each in everybody if each["name"] == "Eve"] == [False]
    assert flames("annotate", "user", "resume", folder, "Eve")[0] == 0
    assert "Eve" in flames("annotate", "user", "list", folder)[1]
    for words, said in (
        (("add", folder, "EVE"), "there is already a 'EVE'"),
        (
            ("add", folder, "Tom", "--role", "king"),
            "--role takes annotator, adjudicator or lead",
        ),
        (("link", folder, "Tom"), "there is no 'Tom'"),
        (("add", folder, "Tom", "--url", "example.org"), "--url takes"),
    ):
        code, _, err = flames("annotate", "user", *words)
        assert code == 2
        assert said in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sample", 13), "a sample of 13 cannot be drawn from 12"),
        (("--sample", 4), "leaves strata empty: there are 5"),
        (("--stratify", "colour"), "--stratify takes"),
        (("--control-rate", 0.9), "--control-rate takes"),
        (("--lease-minutes", 0), "--lease-minutes takes"),
        (("--annotators", "Ann,ann"), "there is already a 'ann'"),
        (("--lead", " "), "a name has 1 to 80 visible characters"),
        (("--lead", "\u202elead"), "a name has 1 to 80 visible characters"),
        (("--lead", "\u200b"), "a name has 1 to 80 visible characters"),
        (("--controls", "nowhere.jsonl"), "nowhere.jsonl: no such file"),
        (("--database", "oracle://x/y"), "--database takes"),
        (("--lang", "fr"), "--lang takes zh or en"),
        (("--url", "x"), "--url takes"),
    ],
)
def test_plans_that_cannot_be_carried_out(
    tmp_path: Path, flames: Flames, options: tuple[Any, ...], said: str
) -> None:
    source = write(tmp_path / "responses.jsonl", responses(12, ("alpha",)))
    code, out, err = flames("annotate", "init", tmp_path / "p", "--from", source, *options)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "问？", "response": "答"}], "no dimension; annotators need its rubric"),
        ([{"prompt_id": "x", "model": "m", "dimension": "Safety", "response": "答"}],
         "the prompt's text is not known"),
        ([{"prompt": "问？", "dimension": "Safety", "response": " "}], "no response with text"),
        ([{"prompt": "问？", "dimension": "Nonsense", "response": "答"}], "unknown dimension"),
    ],
)  # fmt: skip
def test_responses_that_cannot_be_labelled(
    tmp_path: Path, flames: Flames, rows: Any, said: str
) -> None:
    source = write(tmp_path / "responses.jsonl", rows)
    code, _, err = flames("annotate", "init", tmp_path / "p", "--from", source)
    assert code == 2
    assert said in err
    assert not (tmp_path / "p").exists()


def test_the_same_response_twice_is_refused(tmp_path: Path, flames: Flames) -> None:
    first = write(tmp_path / "a.jsonl", responses(3))
    second = write(tmp_path / "b.jsonl", responses(2))
    code, _, err = flames("annotate", "init", tmp_path / "p", "--from", first, "--from", second)
    assert code == 2
    assert "can be drawn only once" in err


def test_blank_responses_and_repeated_controls_are_counted(tmp_path: Path, flames: Flames) -> None:
    rows = responses(12, ("alpha",))
    rows[3] |= {"response": " "}
    rows[4] |= {"response": None, "status": "blocked"}
    source = write(tmp_path / "responses.jsonl", rows)
    controls = write(tmp_path / "controls.jsonl", [*known(3), {**rows[0], "score": 3}])
    code, out, _ = flames(
        "annotate", "init", tmp_path / "p", "--from", source, "--controls", controls, "--json"
    )
    assert code == 0
    made = json.loads(out)
    assert (made["items"], made["without_text"], made["repeated_controls"]) == (10, 2, 1)


def test_a_control_item_looks_like_any_other(tmp_path: Path) -> None:
    [row] = known(1)
    path = write(tmp_path / "c.jsonl", [{**row, "response": f"<think>想</think>{row['response']}"}])
    [control] = known_items([path], ReadOptions())
    assert control.response.response == row["response"]


def test_bundled_responses_can_be_tried(tmp_path: Path, flames: Flames) -> None:
    code, out, err = flames(
        "annotate", "init", tmp_path / "p", "--from", "labels:silver", "--sample", 60
    )
    assert code == 0, err
    assert "60 of " in err
    assert "/join/" in out


def test_serving_says_where(folder: Path) -> None:
    import httpx

    with server_process(folder) as (process, base):
        assert httpx.get(f"{base}/health").text == "ok\n"
        process.terminate()
        assert process.wait(20) in (0, 130, -15)


def test_serving_where_somebody_else_listens(folder: Path, flames: Flames) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = flames("annotate", "serve", folder, "--port", taken.getsockname()[1])
    assert code == 2
    assert "cannot listen on 127.0.0.1" in err


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from flames.cli import main; main(['annotate', 'status', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install '.[annotate]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
