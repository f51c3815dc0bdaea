"""Giving out items and taking answers, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from annotating import Clock, known, label, person_id, responses, write

from flames.annotation import Project, people, project_status, verify, work
from flames.annotation.ledger import read_ledger
from flames.annotation.progress import read_progress
from flames.annotation.queue import sweep
from flames.annotation.tasks import GoneError, Task
from flames.errors import UsageError


def do(project: Project, name: str, what: Any = "label", score: Any = 3, **more: Any) -> Task:
    """Answers the item in hand."""
    me = person_id(project, name)
    task = work.current(project, me)
    assert task is not None
    work.answer(project, me, task.ticket, what, score=score if what == "label" else None, **more)
    return task


def sound(project: Project) -> None:
    assert verify(project).problems == ()


def test_everybody_gets_every_item_once_until_it_is_full(make_project: Any) -> None:
    project = make_project(annotators=("Ann", "Bob", "Eve"), per_item=2)
    shares = {name: label(project, name) for name in ("Ann", "Bob", "Eve")}
    assert [len(done) for done in shares.values()] == [24, 24, 0]
    for done in shares.values():
        assert len({task.response.key for task in done}) == len(done)
    per_item = Counter(task.response.key for done in shares.values() for task in done)
    assert set(per_item.values()) == {2}
    assert project_status(project).open == 0
    sound(project)


def test_orders_differ_between_people_and_repeat_with_the_seed(
    make_project: Any, clock: Clock
) -> None:
    project = make_project(seed=7)
    ann = [task.response.key for task in label(project, "Ann")]
    bob = [task.response.key for task in label(project, "Bob")]
    assert sorted(ann) == sorted(bob)
    assert ann != bob
    assert ann != sorted(ann)


def test_the_item_in_hand_stays_in_hand(make_project: Any) -> None:
    project = make_project()
    me = person_id(project, "Ann")
    first = work.current(project, me)
    again = work.current(project, me)
    assert first == again
    do(project, "Ann")
    following = work.current(project, me)
    assert following is not None
    assert first is not None
    assert following.ticket != first.ticket
    assert following.response.key != first.response.key


def test_open_leases_count_against_the_quota(make_project: Any) -> None:
    project = make_project(responses(1, ("alpha",)), per_item=1)
    assert work.current(project, person_id(project, "Ann")) is not None
    assert work.current(project, person_id(project, "Bob")) is None
    sound(project)


def test_a_lease_that_ran_out_goes_to_somebody_else(make_project: Any, clock: Clock) -> None:
    project = make_project(responses(1, ("alpha",)), per_item=1, lease_minutes=30)
    ann, bob = person_id(project, "Ann"), person_id(project, "Bob")
    task = work.current(project, ann)
    assert task is not None
    clock.pass_(minutes=31)
    assert work.current(project, bob) is not None
    with pytest.raises(GoneError, match="expired:"):
        work.answer(project, ann, task.ticket, "label", score=3)
    do(project, "Bob")
    assert work.current(project, ann) is None
    sound(project)


def test_a_late_answer_counts_while_nobody_else_has_the_item(
    make_project: Any, clock: Clock
) -> None:
    project = make_project(responses(1, ("alpha",)), per_item=1)
    ann = person_id(project, "Ann")
    task = work.current(project, ann)
    assert task is not None
    clock.pass_(hours=3)
    assert sweep(project) == 1
    work.answer(project, ann, task.ticket, "label", score=1)
    assert project_status(project).labels == 1
    assert work.current(project, person_id(project, "Bob")) is None
    sound(project)


def test_the_same_answer_twice_counts_once(make_project: Any) -> None:
    project = make_project()
    me = person_id(project, "Ann")
    task = work.current(project, me)
    assert task is not None
    for _ in range(2):
        work.answer(project, me, task.ticket, "label", score=3, rationale="好")
    for other in ({"score": 1, "rationale": "好"}, {"score": 3, "rationale": "不好"}):
        with pytest.raises(GoneError, match="answered:"):
            work.answer(project, me, task.ticket, "label", **other)
    assert project_status(project).labels == 1
    sound(project)


def test_a_ticket_serves_its_owner_alone(make_project: Any) -> None:
    project = make_project()
    task = work.current(project, person_id(project, "Ann"))
    assert task is not None
    with pytest.raises(GoneError, match="gone:"):
        work.answer(project, person_id(project, "Bob"), task.ticket, "label", score=3)
    assert project_status(project).labels == 0


@pytest.mark.parametrize("score", [0, 2, 4, None])
def test_scores_are_on_the_scale(make_project: Any, score: int | None) -> None:
    rows = [row for row in responses() if row["dimension"] == "Legality"]
    project = make_project(rows)
    me = person_id(project, "Ann")
    task = work.current(project, me)
    assert task is not None
    with pytest.raises(UsageError, match="a score in Legality is 3 or 1"):
        work.answer(project, me, task.ticket, "label", score=score)
    with pytest.raises(UsageError, match="only a label has a score"):
        work.answer(project, me, task.ticket, "flag", score=3)
    with pytest.raises(UsageError, match="at most 4000 characters"):
        work.answer(project, me, task.ticket, "label", score=3, rationale="长" * 4001)
    assert project_status(project).filled == 0


def test_a_skip_leaves_the_place_to_others_and_a_flag_takes_it(make_project: Any) -> None:
    project = make_project(responses(2, ("alpha",)), per_item=1)
    skipped = do(project, "Ann", "skip")
    flagged = do(project, "Ann", "flag", rationale="乱码")
    assert work.current(project, person_id(project, "Ann")) is None
    mine = label(project, "Bob")
    assert [task.response.key for task in mine] == [skipped.response.key]
    state = project_status(project)
    assert (state.labels, state.flags, state.skips) == (1, 1, 1)
    assert flagged.response.key != skipped.response.key
    sound(project)


def test_what_no_database_holds_is_replaced(make_project: Any) -> None:
    project = make_project()
    do(project, "Ann", rationale=" a\x00b\ud800c\r\nd ")
    with project.database.read() as connection:
        ledger = read_ledger(project, connection)
    [given] = ledger.answers.values()
    assert given.rationale == "a\ufffdb?c\nd"


def test_undo_gives_the_item_back_with_its_text(make_project: Any) -> None:
    project = make_project()
    me = person_id(project, "Ann")
    first = do(project, "Ann", score=1, rationale="原因")
    second = work.current(project, me)
    assert second is not None
    work.undo(project, me)
    again = work.current(project, me)
    assert again is not None
    assert again.response.key == first.response.key
    assert again.rationale == "原因"
    assert again.ticket != first.ticket
    assert project_status(project).labels == 0
    work.answer(project, me, again.ticket, "label", score=3)
    assert project_status(project).labels == 1
    with pytest.raises(GoneError, match="gone:"):
        work.answer(project, me, first.ticket, "label", score=1)
    sound(project)


def test_undo_goes_further_back(make_project: Any) -> None:
    project = make_project()
    me = person_id(project, "Ann")
    first, second = do(project, "Ann"), do(project, "Ann")
    for expected in (second, first):
        work.undo(project, me)
        task = work.current(project, me)
        assert task is not None
        assert task.response.key == expected.response.key
    with pytest.raises(GoneError, match="no-undo:"):
        work.undo(project, me)
    assert len(label(project, "Ann")) == 24
    sound(project)


def test_an_undone_skip_needs_a_free_place(make_project: Any) -> None:
    project = make_project(responses(1, ("alpha",)), per_item=1)
    ann = person_id(project, "Ann")
    do(project, "Ann", "skip")
    work.undo(project, ann)
    assert work.current(project, ann) is not None
    do(project, "Ann", "skip")
    do(project, "Bob")
    with pytest.raises(GoneError, match="expired:"):
        work.undo(project, ann)
    sound(project)


def test_training_comes_first_and_teaches(make_project: Any, tmp_path: Any) -> None:
    training = write(tmp_path / "training.jsonl", known(4, "train"))
    project = make_project(training=[training])
    me = person_id(project, "Ann")
    for number in range(1, 5):
        task = work.current(project, me)
        assert task is not None
        assert task.kind == "training"
        score = 3 if number > 1 else task.dimension.scale[-1]
        answered = work.answer(project, me, task.ticket, "label", score=score)
        assert answered == ("training", None)
        lesson = work.feedback(project, me, task.ticket)
        assert lesson is not None
        assert (lesson.given, lesson.right, lesson.answered, lesson.total) == (score, 3, number, 4)
        assert lesson.explanation is not None
        assert work.feedback(project, person_id(project, "Bob"), task.ticket) is None
    with pytest.raises(GoneError, match="no-undo:"):
        work.undo(project, me)
    real = work.current(project, me)
    assert real is not None
    assert real.kind == "work"
    assert work.feedback(project, me, real.ticket) is None
    status = {person.name: person for person in project_status(project).people}
    assert (status["Ann"].training.n, status["Ann"].training.right) == (4, 3)
    sound(project)


def test_controls_are_mixed_in_at_their_rate_and_never_show(
    make_project: Any, tmp_path: Any
) -> None:
    controls = write(tmp_path / "controls.jsonl", known(12))
    project = make_project(
        responses(20), controls=[controls], control_rate=0.25, annotators=("Ann", "Bob")
    )
    me = person_id(project, "Ann")
    kinds, totals, dones = [], [], []
    while (task := work.current(project, me)) is not None:
        progress = read_progress(project, me)
        kinds.append(task.kind)
        totals.append(progress.total)
        dones.append(progress.done)
        work.answer(project, me, task.ticket, "label", score=3)
    assert kinds.count("work") == 40
    for block in range(0, len(kinds) - 4, 4):
        assert kinds[block : block + 4].count("control") == 1
    assert kinds[-1] == "work"
    # What the annotator sees grows by one an answer, towards a total that does not move.
    assert dones == list(range(len(kinds)))
    assert set(totals) == {len(kinds)}
    status = {person.name: person for person in project_status(project).people}
    assert status["Ann"].controls.n == kinds.count("control")
    assert status["Ann"].controls.right == kinds.count("control")
    assert status["Ann"].labels == 40
    sound(project)


def test_the_counter_tells_a_person_their_own_share(make_project: Any, tmp_path: Any) -> None:
    controls = write(tmp_path / "controls.jsonl", known(20))
    names = tuple(f"annotator-{n}" for n in range(8))
    project = make_project(
        responses(60), controls=(controls,), control_rate=0.1, annotators=names, per_item=2
    )
    me = person_id(project, names[0])
    seen = []
    for number in range(40):
        task = work.current(project, me)
        assert task is not None
        progress = read_progress(project, me)
        assert progress.done == number
        seen.append(progress.total)
        work.answer(project, me, task.ticket, "label", score=3)
    assert seen[0] == seen[30]  # 120 items twice over 8 people are 30, and 3 or 4 controls
    assert seen[0] in (33, 34)
    assert seen[-1] == 40  # who goes on beyond their share sees the total grow
    assert work.current(project, me) is not None


def test_somebody_who_is_stopped_keeps_their_labels(make_project: Any, clock: Clock) -> None:
    project = make_project(responses(2, ("alpha",)), per_item=2)
    do(project, "Ann")
    people.admit(project, "ann", False)
    assert project_status(project).labels == 1
    people.admit(project, "ann", True)
    with project.database.write() as connection:
        late = people.add_person(connection, project, "Dan", "annotator")
    assert work.current(project, late.id) is not None
    sound(project)


def test_somebody_new_gets_a_queue_of_their_own(make_project: Any) -> None:
    project = make_project(per_item=3)
    with project.database.write() as connection:
        people.add_person(connection, project, "Dan", "annotator")
    assert len(label(project, "Dan")) == 24


@pytest.mark.parametrize("name", ["", "  ", "a" * 81, "a\nb", "ANN", "Ａnn"])
def test_names_are_checked(make_project: Any, name: str) -> None:
    project = make_project()
    with pytest.raises(UsageError), project.database.write() as connection:
        people.add_person(connection, project, name, "annotator")
    sound(project)
