"""Many people at once: nothing beyond its quota, nothing lost, nothing twice."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from annotating import label, person_id, responses, write

from flames.annotation import (
    Project,
    ProjectPlan,
    adjudication,
    create_project,
    export,
    import_labels,
    open_project,
    people,
    project_status,
    verify,
    work,
)
from flames.annotation.queue import sweep
from flames.annotation.tasks import GoneError


def all_at_once(jobs: list[Callable[[], None]]) -> None:
    """Runs jobs in threads that begin together; the first failure is raised."""
    gate = threading.Barrier(len(jobs))
    failures: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        gate.wait()
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if failures:
        raise failures[0]


def test_a_rush_on_few_items_fills_each_to_its_quota(make_project: Any) -> None:
    names = tuple(f"a{n}" for n in range(8))
    project = make_project(responses(6, ("alpha",)), per_item=3, annotators=names)
    done: Counter[str] = Counter()

    def annotate(name: str) -> Callable[[], None]:
        me, rng = person_id(project, name), random.Random(name)

        def job() -> None:
            while (task := work.current(project, me)) is not None:
                chance = rng.random()
                if chance < 0.1:
                    work.answer(project, me, task.ticket, "skip")
                else:
                    work.answer(project, me, task.ticket, "label", score=3)
                    done[name] += 1
                if chance > 0.85:
                    try:
                        work.undo(project, me)
                        done[name] -= 1
                    except GoneError:
                        pass

        return job

    all_at_once([annotate(name) for name in names])
    result = verify(project)  # replays every lease and would name an item beyond its quota
    assert result.problems == ()
    assert result.labels == sum(done.values())
    for name in names:  # a place that came free after others had left is filled by those who may
        label(project, name)
    state = project_status(project)
    assert state.filled <= state.places == 18
    assert state.filled == 18 or state.skips >= 6
    assert verify(project).problems == ()


def test_one_person_in_many_tabs_has_one_item(make_project: Any) -> None:
    project = make_project()
    me = person_id(project, "Ann")
    tickets: list[str] = []
    all_at_once([lambda: tickets.append(work.current(project, me).ticket)] * 8)  # type: ignore[union-attr]
    assert len(set(tickets)) == 1
    answers = [lambda: work.answer(project, me, tickets[0], "label", score=3)] * 8
    all_at_once(answers)
    assert project_status(project).labels == 1
    assert verify(project).problems == ()


def test_the_last_item_is_not_denied_by_a_lock(make_project: Any) -> None:
    project = make_project(responses(1, ("alpha",)), per_item=8, annotators=tuple("abcdefgh"))
    got: list[Any] = []
    ids = [person_id(project, name) for name in "abcdefgh"]
    all_at_once([lambda me=me: got.append(work.current(project, me)) for me in ids])  # type: ignore[misc]
    assert None not in got
    assert verify(project).problems == ()


def test_everything_at_once(make_project: Any, tmp_path: Any, clock: Any) -> None:
    """Labelling, undoing, expiry, importing, adjudicating, adding people, exporting."""
    names = tuple(f"a{n}" for n in range(4))
    project: Project = make_project(
        responses(10), annotators=names, adjudicators=("Cat", "Dora"), lease_minutes=0.01
    )
    foreign = write(
        tmp_path / "foreign.jsonl",
        [{**row, "score": 3, "annotator": "old hand"} for row in responses(10)],
    )

    def annotate(name: str) -> Callable[[], None]:
        me, rng = person_id(project, name), random.Random(name)

        def job() -> None:
            for _ in range(15):
                task = work.current(project, me)
                if task is None:
                    return
                try:
                    if rng.random() < 0.2:
                        work.undo(project, me)
                    else:
                        score = rng.choice(task.dimension.scale)
                        work.answer(project, me, task.ticket, "label", score=score)
                except GoneError:
                    pass

        return job

    def judge(name: str) -> Callable[[], None]:
        me = person_id(project, name)

        def job() -> None:
            for _ in range(10):
                case = adjudication.current_case(project, me)
                if case is not None:
                    with suppress(GoneError):
                        adjudication.decide(project, me, str(case.ticket), score=3, reason="x")

        return job

    def others() -> None:
        import_labels(project, foreign)
        for n in range(3):
            with project.database.write() as connection:
                people.add_person(connection, project, f"new {n}", "annotator")
            export(project)
            sweep(project)

    all_at_once([*(annotate(n) for n in names), judge("Cat"), judge("Dora"), others])
    assert verify(project).problems == ()


@pytest.mark.postgres
def test_two_servers_share_one_database(postgres_url: str, tmp_path: Any, clock: Any) -> None:
    names = tuple("abcd")
    source = write(tmp_path / "r.jsonl", responses(8))
    plan = ProjectPlan(
        sources=[source], database=postgres_url, training=(), annotators=names, per_item=2
    )
    first = create_project(tmp_path / "p", plan).project
    second = open_project(tmp_path / "p")

    servers = [first, second, first, second]
    all_at_once([partial(label, *each) for each in zip(servers, names, strict=True)])
    assert verify(first).problems == ()
    assert project_status(second).labels == 32
    first.close()
    second.close()
