"""Labels that a lead takes out and brings back; people who miss a pass mark."""

from __future__ import annotations

import json
from typing import Any

import pytest
from annotating import (
    AS_THE_FIRST_VERSION,
    Clock,
    Visitor,
    known,
    label,
    person_id,
    responses,
    served,
    write,
)

from flames.annotation import (
    Project,
    adjudication,
    export,
    import_labels,
    marks,
    people,
    project_status,
    verify,
    void,
    work,
    write_sheet,
)
from flames.annotation.lead_options import VoidOptions
from flames.annotation.options import DecisionOptions, SheetOptions
from flames.errors import FlamesError, InputError, UsageError


def rows_of(project: Project, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in export(project).text.splitlines()]
    return [line for line in lines if line["annotator"] == name]


def person(project: Project, name: str) -> Any:
    return next(each for each in project_status(project).people if each.name == name)


def because(**more: Any) -> VoidOptions:
    return VoidOptions(reason="clicked through", **more)


def test_voided_labels_go_to_others_and_come_back(make_project: Any) -> None:
    project = make_project(responses(10, ("alpha",)), annotators=("Ann", "Bob", "Eve"))
    label(project, "Ann", 3)
    label(project, "Bob", 3)
    before = export(project)
    assert label(project, "Eve", 3) == []
    result = void(project, "ann", because())
    assert (result.labels, result.stuck, result.decided, result.beyond_quota) == (10, 0, 0, 0)
    assert rows_of(project, "Ann") == []
    assert (person(project, "Ann").voided, person(project, "Ann").labels) == (10, 0)
    assert verify(project).problems == ()
    assert label(project, "Ann", 1) == []  # not the same items to the same person again
    assert len(label(project, "Eve", 1)) == 10
    assert export(project, until=before.seq).text == before.text
    back = void(project, "Ann", because(undo=True))
    assert (back.labels, back.undone, back.beyond_quota) == (10, True, 10)
    assert len(rows_of(project, "Ann")) == 10
    assert verify(project).problems == ()
    void(project, "Eve", because())
    assert export(project).text == before.text
    assert verify(project).problems == ()


def test_some_labels_are_voided(make_project: Any, clock: Clock) -> None:
    project = make_project(responses(10, ("alpha",)), min_seconds=5)
    ann = person_id(project, "Ann")
    for number in range(10):
        task = work.current(project, ann)
        assert task is not None
        clock.pass_(seconds=1 if number in (2, 3, 7) else 20)
        work.answer(project, ann, task.ticket, "label", score=3)
        if number == 4:
            noon = clock().isoformat()
    refs = [row["item"] for row in rows_of(project, "Ann")]
    for choice, n in (
        ({"under_floor": True}, 3),
        ({"until": noon}, 5),
        ({"since": noon}, 5),
        ({"since": noon, "under_floor": True}, 1),
        ({"items": tuple(refs[:2])}, 2),
        ({"since": "1", "until": "9999"}, 10),
    ):
        assert void(project, "Ann", because(**choice)).labels == n, choice
        assert len(rows_of(project, "Ann")) == 10 - n
        assert void(project, "Ann", because(undo=True, **choice)).labels == n
        assert len(rows_of(project, "Ann")) == 10
    assert verify(project).problems == ()


@pytest.mark.parametrize(
    ("name", "choice", "said"),
    [
        ("Eve", {}, "there is no 'Eve'"),
        ("Bob", {}, "Bob has no labels like that"),
        ("Ann", {"undo": True}, "no voided labels like that"),
        ("Ann", {"items": ("nothing",)}, "Ann has no labels on nothing"),
        ("Ann", {"since": "yesterday"}, "takes an event number or a time"),
        ("Ann", {"until": "2020-01-01"}, "no labels like that"),
        ("Ann", {"person": "Bob"}, "Bob is not a lead"),
        ("Ann", {"under_floor": True}, "no labels like that"),
    ],
)
def test_what_cannot_be_voided_is_told(
    make_local: Any, name: str, choice: dict[str, Any], said: str
) -> None:
    project = make_local(responses(4, ("alpha",)))
    label(project, "Ann")
    seq = verify(project).events
    with pytest.raises((UsageError, InputError), match=said):
        void(project, name, because(**choice))
    assert verify(project).events == seq


def test_voiding_takes_the_case_from_an_adjudicator(make_project: Any) -> None:
    project = make_project(responses(3, ("alpha",)))
    label(project, "Ann", 1)
    label(project, "Bob", 3)
    cat = person_id(project, "Cat")
    case = adjudication.current_case(project, cat)
    assert case is not None
    decided = adjudication.open_cases(project)[1].ref
    adjudication.decide_item(project, DecisionOptions("lead", decided, "3", "plain"))
    result = void(project, "Ann", because())
    assert (result.decided, result.stuck) == (1, 3)
    with pytest.raises(FlamesError, match="gone"):
        adjudication.decide(project, cat, str(case.ticket), score=3, reason="late")
    again = adjudication.current_case(project, cat)  # nobody is left to label it
    assert again is not None
    assert [opinion.score for opinion in again.opinions] == [3]
    assert project_status(project).adjudicated == 1
    assert verify(project).problems == ()


def test_a_file_does_not_bring_voided_labels_back(make_project: Any, tmp_path: Any) -> None:
    project = make_project(responses(3, ("alpha",)))
    label(project, "Ann")
    file = tmp_path / "labels.jsonl"
    file.write_text(export(project).text, "utf-8")
    void(project, "Ann", because())
    assert import_labels(project, file).unchanged == 3
    assert rows_of(project, "Ann") == []
    file.write_text(file.read_text("utf-8").replace('"score": 3', '"score": 1'), "utf-8")
    assert import_labels(project, file).unchanged == 0
    assert {row["score"] for row in rows_of(project, "Ann")} == {1}
    assert verify(project).problems == ()


def test_an_open_page_of_a_voided_label_changes_nothing(make_project: Any) -> None:
    project = make_project(responses(1, ("alpha",)))
    [task] = label(project, "Ann")
    void(project, "Ann", because())
    ann = person_id(project, "Ann")
    with pytest.raises(FlamesError, match="answered"):
        work.answer(project, ann, task.ticket, "label", score=3)
    with pytest.raises(FlamesError, match="no-undo"):
        work.undo(project, ann)
    assert verify(project).problems == ()


def answer_all(project: Project, name: str, wrong: int, count: int = 1000) -> int:
    """Answers, `wrong` of the known items not as they should be; tells how many it got."""
    me, given, left = person_id(project, name), 0, wrong
    while given < count and (task := work.current(project, me)) is not None:
        miss = task.kind != "work" and left > 0
        left -= miss
        score = task.dimension.scale[-1 if miss else 0]
        work.answer(project, me, task.ticket, "label", score=score)
        given += 1
    return given


def test_who_fails_the_training_round_waits_for_the_lead(make_project: Any, tmp_path: Any) -> None:
    training = write(tmp_path / "training.jsonl", known(10, "train"))
    project = make_project(responses(12, ("alpha",)), training=(training,), pass_training=0.7)
    assert answer_all(project, "Ann", wrong=3) == 22
    assert answer_all(project, "Bob", wrong=4) == 10
    assert person(project, "Ann").held is None
    assert person(project, "Bob").held == "training"
    assert work.current(project, person_id(project, "Bob")) is None
    with pytest.raises(UsageError, match="held"):
        write_sheet(project, "Bob")
    assert verify(project).problems == ()
    with pytest.raises(UsageError, match="not a lead"):
        marks.release(project, "Bob", "Ann")
    assert marks.release(project, "bob").held is None
    with pytest.raises(UsageError, match="Bob is not held"):
        marks.release(project, "Bob")
    assert answer_all(project, "Bob", wrong=0) == 12
    assert verify(project).problems == ()


def test_who_skips_the_training_round_fails_it(make_project: Any, tmp_path: Any) -> None:
    training = write(tmp_path / "training.jsonl", known(3, "train"))
    project = make_project(training=(training,), pass_training=0.5)
    me = person_id(project, "Ann")
    for what in ("skip", "flag", "skip"):
        task = work.current(project, me)
        assert task is not None
        work.answer(project, me, task.ticket, what)
    assert person(project, "Ann").held == "training"


def test_who_misses_controls_gets_no_more_items(make_project: Any, tmp_path: Any) -> None:
    controls = write(tmp_path / "controls.jsonl", known(20))
    project = make_project(responses(30), controls=(controls,), control_rate=0.5, pass_controls=0.8)
    given = answer_all(project, "Ann", wrong=1)
    assert person(project, "Ann").held is None
    assert given > 60
    first = answer_all(project, "Bob", wrong=2)
    bob = person(project, "Bob")
    assert bob.held == "controls"
    assert (bob.controls.n, bob.controls.right) == (5, 3)
    assert first < 12
    assert verify(project).problems == ()
    marks.release(project, "Bob", "lead")
    assert answer_all(project, "Bob", wrong=5) >= 5  # a new count from the release on
    bob = person(project, "Bob")
    assert (bob.held, bob.controls.n, bob.controls.right) == ("controls", 10, 3)
    # What they undo and give again is checked again, and they get nothing more by it.
    me = person_id(project, "Bob")
    work.undo(project, me)
    task = work.current(project, me)
    assert task is not None
    work.answer(project, me, task.ticket, "label", score=task.dimension.scale[0])
    assert work.current(project, me) is None
    people.admit(project, "Bob", False)
    people.admit(project, "Bob", True)
    assert work.current(project, me) is None
    assert verify(project).problems == ()


def test_a_sheet_with_wrong_controls_holds_its_person(make_project: Any, tmp_path: Any) -> None:
    controls = write(tmp_path / "controls.jsonl", known(8))
    project = make_project(responses(12), controls=(controls,), control_rate=0.5, pass_controls=0.8)
    sheet = write_sheet(project, "Ann", SheetOptions(items=14))
    file = tmp_path / "ann.csv"
    file.write_text(sheet.text.replace(",Ann,,,", ",Ann,1,,"), "utf-8")
    assert import_labels(project, file).new == 14
    assert person(project, "Ann").held == "controls"
    assert person(project, "Ann").controls.n >= 5
    assert work.current(project, person_id(project, "Ann")) is None
    assert verify(project).problems == ()


def test_leads_see_and_release_on_the_page(make_local: Any, tmp_path: Any) -> None:
    training = write(tmp_path / "training.jsonl", known(4, "train"))
    project = make_local(responses(8), training=(training,), pass_training=1.0)
    with served(project) as base, Visitor(base, project.links["Ann"]) as ann:
        ann.http.headers["accept-language"] = "en"
        for _ in range(4):
            ann.get("/work")
            ann.post("/work", do="1")
        assert ann.get("/work") == 200
        assert "Waiting for the lead" in ann.page
        assert ann.field("ticket") == ""
        with Visitor(base, project.links["lead"]) as lead:
            lead.http.headers["accept-language"] = "en"
            for path in ("/lead", "/lead/people"):
                lead.get(path)
                assert 'value="release"' in lead.page
                assert "practice round not passed" in lead.page
            assert lead.post("/lead/people", do="release", name="Ann") == 200
            assert 'value="release"' not in lead.page
            assert lead.post("/lead/people", do="release", name="Ann") == 422
        assert ann.post("/lead/people", do="release", name="Ann") == 403
        ann.get("/work")
        assert ann.field("ticket")
    assert verify(project).problems == ()


def test_agreement_and_controls_stand_on_the_lead_page(make_local: Any, tmp_path: Any) -> None:
    controls = write(tmp_path / "controls.jsonl", known(6))
    project = make_local(responses(8), controls=(controls,), control_rate=0.5)
    answer_all(project, "Ann", wrong=0)
    answer_all(project, "Bob", wrong=2)
    with served(project) as base, Visitor(base, project.links["lead"]) as lead:
        lead.http.headers["accept-language"] = "en"
        lead.get("/lead")
        page = lead.page[lead.page.index('id="people"') :]
        assert "agree with others %" in page
        assert "n 16 · 100 " in page
        assert "6/6 · 100 " in page
        assert "4/6 · 67 " in page
        assert "[30, 90]" in page


def test_the_commands(flames: Any, tmp_path: Any) -> None:
    source = write(tmp_path / "responses.jsonl", responses(4, ("alpha",)))
    folder = tmp_path / "labels"
    init = ("annotate", "init", folder, "--from", source, "--training", "none")
    assert flames(*init, "--pass-controls", 0.8)[0] == 2
    assert flames(*init, "--pass-training", 0.8)[0] == 2
    assert flames(*init, "--annotators", "Ann,Bob")[0] == 0
    from flames.annotation import open_project

    with open_project(folder) as project:
        label(project, "Ann")
    code, _, err = flames("annotate", "void", folder, "Ann")
    assert (code, "--reason TEXT" in err) == (2, True)
    code, out, _ = flames("annotate", "void", folder, "Ann", "--reason", "x", "--json")
    assert json.loads(out)["labels"] == 4
    code, _, err = flames("annotate", "void", folder, "Ann", "--reason", "x", "--undo")
    assert "4 labels of Ann are back" in err
    code, _, err = flames("annotate", "void", folder, "Ann", "--reason", "x", "--as", "lead")
    assert "4 labels of Ann are void" in err
    code, _, err = flames("annotate", "user", "release", folder, "Ann")
    assert (code, "Ann is not held" in err) == (2, True)
    assert flames("annotate", "verify", folder)[0] == 0


def test_a_project_of_the_version_before_is_upgraded(
    tmp_path: Any, database_url: Any, make_project: Any
) -> None:
    from sqlalchemy import text

    from flames.annotation import open_project

    project = make_project(responses(4, ("alpha",)))
    label(project, "Ann")
    folder = project.path
    with project.database.write() as connection:  # as 0001 left it
        for statement in AS_THE_FIRST_VERSION:
            connection.execute(text(statement))
    project.close()
    with open_project(folder) as again:
        assert verify(again).problems == ()
        assert void(again, "Ann", because()).labels == 4
        assert len(label(again, "Bob", 1)) == 4
        assert verify(again).problems == ()
