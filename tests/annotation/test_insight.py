"""What the lead is told: progress, accuracy on known answers, bias, agreement over time."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from annotating import Clock, Visitor, known, label, responses, served, write

from flames.annotation import (
    Project,
    export,
    people,
    project_agreement,
    project_status,
)
from flames.annotation.insight import Insight, disagreements, insight
from flames.annotation.ledger import read_items, read_ledger
from flames.annotation.options import AgreementOptions
from flames.annotation.tasks import Task
from flames.annotation.web import lead
from flames.annotation.web.lead import Watch
from flames.metrics.agreement import measure_agreement
from flames.storage.record_files import ReadOptions, read_verdicts


@pytest.fixture
def project(tmp_path: Any, clock: Clock, make_local: Any) -> Project:
    """Ann is always right and slow, Bob always harsh and quick; a day lies between them."""
    made: Project = make_local(
        responses(12, ("alpha",)),
        controls=(write(tmp_path / "controls.jsonl", known(6)),), control_rate=0.25,
        training=(write(tmp_path / "training.jsonl", known(3, "train")),),
    )  # fmt: skip
    for name, seconds, place in (("Ann", 30, 0), ("Bob", 5, -1)):

        def score(task: Task, seconds: int = seconds, place: int = place) -> int:
            clock.pass_(seconds=seconds)
            return task.dimension.scale[place]

        label(made, name, score)
        clock.pass_(days=1)
    return made


def test_people_are_told_apart(project: Project) -> None:
    state = project_status(project)
    ann, bob = (next(p for p in state.people if p.name == name) for name in ("Ann", "Bob"))
    assert ann.training.right == ann.training.n == 3
    assert (bob.training.right, bob.controls.right) == (0, 0)
    assert ann.controls.right == ann.controls.n > 0
    assert ann.controls.accuracy is not None
    assert ann.controls.accuracy.value == 100
    assert 30 < ann.controls.accuracy.low < 100
    assert ann.median_seconds == pytest.approx(30, abs=0.2)
    assert bob.median_seconds == pytest.approx(5, abs=0.2)
    assert (state.labels, state.disputed, state.open, state.unanimous) == (24, 12, 0, 0)
    assert sum(row["filled"] for row in state.dimensions.values()) == 24


def test_agreement_is_that_of_the_metrics(project: Project, tmp_path: Any) -> None:
    found = project_agreement(project, AgreementOptions(resamples=200))
    path = tmp_path / "labels.jsonl"
    path.write_text(export(project).text, "utf-8")
    verdicts = list(read_verdicts(path, ReadOptions()))
    assert found.agreement == measure_agreement(verdicts, resamples=200)
    assert set(found.subcomponents) == {v.subcomponent for v in verdicts}
    bias = {rater.rater: rater.bias for rater in found.agreement.overall.raters}
    assert bias["Ann"] is not None
    assert bias["Ann"].value == 2
    assert bias["Bob"] is not None
    assert bias["Bob"].value == -2
    days = found.over_time
    assert sum(day.answers for day in days) == 24
    assert [day.agreement is not None for day in days] == [False, True]


def test_disagreements_come_widest_first(project: Project) -> None:
    with project.database.read() as connection:
        ledger, items = read_ledger(project, connection), read_items(connection)
    found = disagreements(ledger, items)
    assert len(found) == 12
    spreads = [each.spread for each in found]
    assert spreads == sorted(spreads, reverse=True)
    assert {ledger.people[answer.person].name for answer in found[0].answers} == {"Ann", "Bob"}


def test_the_dashboard_follows_the_events(project: Project) -> None:
    watch = Watch(project, 60.0)
    ledger, items, disputed = watch.ledger()
    first = watch.insight(ledger, items)
    assert disputed == 12
    assert watch.insight(ledger, items) is first
    with project.database.write() as connection:
        people.add_person(connection, project, "Dan", "annotator")
    again, items, _ = watch.ledger()
    assert again.head.seq == ledger.head.seq + 1
    assert "Dan" in {person.name for person in again.people.values()}
    assert "Dan" not in {person.name for person in ledger.people.values()}
    with project.database.read() as connection:
        assert again == read_ledger(project, connection)
    found = watch.insight(again, items)
    assert found is not None
    assert found.seq == again.head.seq


def test_a_slow_computation_keeps_nobody_waiting(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    watch = Watch(project, 60.0)
    first = watch.insight(*watch.ledger()[:2])
    watch.patience = 0.0
    with project.database.write() as connection:
        people.add_person(connection, project, "Dan", "annotator")
    ledger, items, _ = watch.ledger()

    def slow(*args: Any, **options: Any) -> Insight:
        assert go.wait(60)
        return insight(*args, **options)

    monkeypatch.setattr(lead, "insight", slow)
    assert watch.insight(ledger, items) is first
    assert watch.insight(ledger, items) is first
    go.set()
    watch.patience = 60.0
    found = watch.insight(ledger, items)
    assert found is not None
    assert found.seq == ledger.head.seq


def test_the_first_page_does_not_wait_for_agreement(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(*args: Any, **options: Any) -> Insight:
        assert go.wait(60)
        return insight(*args, **options)

    monkeypatch.setattr(lead, "insight", slow)
    token = project.links["lead"]  # type: ignore[attr-defined]
    with served(project, patience=0.0) as base, Visitor(base, token) as visitor:
        assert visitor.get("/lead") == 200
        assert 'http-equiv="refresh"' in visitor.page
        assert "lead.computing" not in visitor.page
        go.set()
        while 'http-equiv="refresh"' in visitor.page:
            assert visitor.get("/lead") == 200
    assert "Ann · Bob" in visitor.page


def test_a_computation_that_fails_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, "insight", lambda *_, **__: 1 / 0)
    watch = Watch(project, 60.0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            watch.insight(*watch.ledger()[:2])
