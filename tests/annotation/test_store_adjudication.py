"""Adjudication: what comes up, who sees what, decisions and their undoing."""

from __future__ import annotations

from typing import Any

import pytest
from annotating import Clock, label, person_id, responses

from flames.annotation import (
    Project,
    adjudication,
    people,
    project_status,
    verify,
    work,
)
from flames.annotation.options import DecisionOptions
from flames.annotation.tasks import GoneError
from flames.errors import UsageError


@pytest.fixture
def disputed(make_project: Any) -> Project:
    """Six items of which p1 and p4 are disputed."""
    project: Project = make_project(responses(6, ("alpha",)))
    for name, low in (("Ann", "p1"), ("Bob", "p4")):
        score = {low: 1}.get
        label(project, name, lambda t, s=score: s(t.response.prompt_id, 3), rationale="理由")
    return project


def test_only_differing_items_come_up_and_without_names(disputed: Project) -> None:
    cat = person_id(disputed, "Cat")
    seen = []
    while (case := adjudication.current_case(disputed, cat)) is not None:
        assert adjudication.current_case(disputed, cat) == case
        assert sorted(str(opinion.score) for opinion in case.opinions) == ["1", "3"]
        assert [opinion.letter for opinion in case.opinions] == ["A", "B"]
        assert "Bob" not in repr(case)
        seen.append(case.response.prompt_id)
        adjudication.decide(disputed, cat, str(case.ticket), score=3, reason="细则")
    assert sorted(seen) == ["p1", "p4"]
    state = project_status(disputed)
    assert (state.adjudicated, state.unanimous, state.disputed, state.open) == (2, 4, 0, 0)
    assert verify(disputed).problems == ()


def test_a_decision_needs_a_score_on_the_scale_and_a_reason(disputed: Project) -> None:
    cat = person_id(disputed, "Cat")
    case = adjudication.current_case(disputed, cat)
    assert case is not None
    for score, reason in ((3, " "), (5, "细则"), (0, "细则")):
        with pytest.raises(UsageError):
            adjudication.decide(disputed, cat, str(case.ticket), score=score, reason=reason)
    adjudication.decide(disputed, cat, str(case.ticket), score=None, reason="乱码")
    adjudication.decide(disputed, cat, str(case.ticket), score=None, reason="乱码")
    with pytest.raises(GoneError):
        adjudication.decide(disputed, cat, str(case.ticket), score=3, reason="细则")
    assert project_status(disputed).adjudicated == 1
    assert verify(disputed).problems == ()


def test_two_adjudicators_never_have_the_same_item(disputed: Project, clock: Clock) -> None:
    with disputed.database.write() as connection:
        dora = people.add_person(connection, disputed, "Dora", "adjudicator").id
    cat = person_id(disputed, "Cat")
    first = adjudication.current_case(disputed, cat)
    second = adjudication.current_case(disputed, dora)
    assert first is not None
    assert second is not None
    assert first.ref != second.ref
    with pytest.raises(GoneError):
        adjudication.decide(disputed, dora, str(first.ticket), score=3, reason="细则")
    clock.pass_(hours=2)
    adjudication.decide(disputed, dora, str(second.ticket), score=3, reason="细则")
    again = adjudication.current_case(disputed, dora)  # Cat's lease ran out
    assert again is not None
    assert again.ref == first.ref
    assert verify(disputed).problems == ()


def test_what_is_put_aside_comes_back_last(disputed: Project) -> None:
    cat = person_id(disputed, "Cat")
    first = adjudication.current_case(disputed, cat)
    assert first is not None
    adjudication.put_aside(disputed, cat, str(first.ticket))
    second = adjudication.current_case(disputed, cat)
    assert second is not None
    assert second.ref != first.ref
    adjudication.decide(disputed, cat, str(second.ticket), score=3, reason="细则")
    third = adjudication.current_case(disputed, cat)
    assert third is not None
    assert third.ref == first.ref
    assert verify(disputed).problems == ()


def test_a_decision_can_be_taken_back(disputed: Project) -> None:
    cat = person_id(disputed, "Cat")
    case = adjudication.current_case(disputed, cat)
    assert case is not None
    adjudication.decide(disputed, cat, str(case.ticket), score=1, reason="细则")
    assert adjudication.current_case(disputed, cat) is not None
    adjudication.undo_decision(disputed, cat)
    again = adjudication.current_case(disputed, cat)
    assert again is not None
    assert (again.ref, again.score, again.reason) == (case.ref, 1, "细则")
    assert project_status(disputed).adjudicated == 0
    adjudication.put_aside(disputed, cat, str(again.ticket))
    with pytest.raises(GoneError):
        adjudication.undo_decision(disputed, cat)
    assert verify(disputed).problems == ()


def test_a_label_that_went_to_an_adjudicator_stays(disputed: Project) -> None:
    cat, ann = person_id(disputed, "Cat"), person_id(disputed, "Ann")
    held = set()
    while (case := adjudication.current_case(disputed, cat)) is not None:
        held.add(case.response.prompt_id)
        adjudication.decide(disputed, cat, str(case.ticket), score=3, reason="细则")

    def go_back() -> None:
        for _ in range(7):
            work.undo(disputed, ann)
            task = work.current(disputed, ann)
            assert task is not None
            assert task.response.prompt_id not in held

    with pytest.raises(GoneError, match="adjudicating:"):
        go_back()
    assert verify(disputed).problems == ()


def test_flags_and_items_nobody_can_complete_come_up(make_project: Any) -> None:
    project = make_project(responses(2, ("alpha",)), per_item=2)
    ann, bob, cat = (person_id(project, name) for name in ("Ann", "Bob", "Cat"))
    for me, answers in ((ann, ("flag", "label")), (bob, ("label", "skip"))):
        for what in answers:
            task = work.current(project, me)
            assert task is not None
            work.answer(project, me, task.ticket, what, score=3 if what == "label" else None)
    assert project_status(project).disputed == 2
    with project.database.write() as connection:  # somebody new may still label what lacks one
        dan = people.add_person(connection, project, "Dan", "annotator")
    assert project_status(project).disputed == 1
    people.admit(project, dan.name, False)
    assert project_status(project).disputed == 2
    case = adjudication.current_case(project, cat)
    assert case is not None
    assert {opinion.answer for opinion in case.opinions} <= {"labelled", "flagged", "skipped"}


def test_the_command_line_decides_by_reference(disputed: Project) -> None:
    cat = person_id(disputed, "Cat")
    cases = adjudication.open_cases(disputed)
    assert len(cases) == 2
    held = adjudication.current_case(disputed, cat)
    assert held is not None
    with pytest.raises(UsageError, match="somebody else"):
        adjudication.decide_item(disputed, DecisionOptions("lead", held.ref, "3", "细则"))
    other = next(case.ref for case in cases if case.ref != held.ref)
    adjudication.decide_item(disputed, DecisionOptions("lead", other, "1", "细则"))
    for ref in (other, "nothing"):
        with pytest.raises(UsageError, match="no item"):
            adjudication.decide_item(disputed, DecisionOptions("lead", ref, "3", "细则"))
    assert "model" not in cases[0].to_dict()
    assert verify(disputed).problems == ()
