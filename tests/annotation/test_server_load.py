"""Whole teams on a real server process over loopback, and a server that is killed."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotating import Visitor, responses, server_process, write

from flames.annotation import ProjectPlan, create_project, export, open_project, verify
from flames.storage.text_files import parse_json

_BUTTON = re.compile(r'name="do" value="(\d)"')


class Worker(threading.Thread):
    """An annotator who labels until there is nothing left, or the server is gone."""

    def __init__(self, base: str, token: str) -> None:
        super().__init__()
        self.base, self.token = base, token
        self.acknowledged = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with Visitor(self.base, self.token) as visitor:
                visitor.get("/work")
                while ticket := visitor.field("ticket"):
                    score = _BUTTON.findall(visitor.page)[self.acknowledged % 2]
                    assert visitor.post("/work", do=score, rationale=f"理由 {ticket}") == 200
                    self.acknowledged += 1
        except BaseException as error:
            self.failure = error


def label_together(base: str, links: dict[str, str], names: list[str]) -> list[Worker]:
    workers = [Worker(base, links[name]) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    return workers


@pytest.mark.parametrize(
    ("annotators", "items", "per_item", "database"),
    [
        pytest.param(50, 50, 5, "postgresql", marks=pytest.mark.postgres),
        (10, 40, 4, "sqlite"),
    ],
)
def test_a_whole_team_at_once(
    annotators: int,
    items: int,
    per_item: int,
    database: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    names = [f"annotator-{n}" for n in range(annotators)]
    source = write(tmp_path / "responses.jsonl", responses(items, ("alpha",)))
    plan = ProjectPlan(
        sources=[source], database=url, training=(), annotators=names, per_item=per_item
    )
    created = create_project(tmp_path / "project", plan)
    created.project.close()
    with server_process(tmp_path / "project") as (_, base):
        workers = label_together(base, created.links, names)
    assert [worker.failure for worker in workers if worker.failure] == []
    with open_project(tmp_path / "project") as project:
        assert verify(project).problems == ()
        rows = [parse_json(line, None, None) for line in export(project).text.splitlines()]
    assert len(rows) == items * per_item == sum(worker.acknowledged for worker in workers)
    assert set(Counter(row["prompt_id"] for row in rows).values()) == {per_item}
    assert len({(row["prompt_id"], row["annotator"]) for row in rows}) == len(rows)
    assert len({row["rationale"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def test_a_killed_server_loses_nothing_it_acknowledged(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    names = [f"annotator-{n}" for n in range(6)]
    source = write(tmp_path / "responses.jsonl", responses(60))
    plan = ProjectPlan(sources=[source], database=url, training=(), annotators=names, per_item=6)
    created = create_project(tmp_path / "project", plan)
    created.project.close()
    counted: Counter[str] = Counter()
    for _ in range(3):
        with server_process(tmp_path / "project") as (process, base):
            workers = [Worker(base, created.links[name]) for name in names]
            for worker in workers:
                worker.start()
            while sum(worker.acknowledged for worker in workers) < 25 and any(
                worker.is_alive() for worker in workers
            ):
                workers[0].join(0.001)
            process.kill()  # in the middle of whatever it was doing
            for worker in workers:
                worker.join(60)
        for worker, name in zip(workers, names, strict=True):
            assert isinstance(worker.failure, httpx.TransportError), worker.failure
            counted[name] += worker.acknowledged
        with open_project(tmp_path / "project") as project:
            assert verify(project).problems == ()
            rows = [parse_json(line, None, None) for line in export(project).text.splitlines()]
        stored = Counter(row["annotator"] for row in rows)
        assert len({(row["prompt_id"], row["model"], row["annotator"]) for row in rows}) == len(
            rows
        )
        for name in names:
            # All that was acknowledged is there; of a round, one more may have been on its way.
            assert counted[name] <= stored[name] <= counted[name] + 1, (name, counted, stored)
        counted = stored


def test_an_answer_whose_reply_got_lost_is_sent_again_without_harm(
    tmp_path: Path, make_project: Any
) -> None:
    project = make_project()
    token = project.links["Ann"]
    project.close()
    with (
        server_process(tmp_path / "project") as (process, base),
        Visitor(base, token) as visitor,
    ):
        visitor.get("/work")
        form = {"csrf": visitor.field("csrf"), "ticket": visitor.field("ticket")}
        visitor.http.post("/work", data={**form, "do": "3"})
        cookies = visitor.http.cookies
        process.kill()
    with (
        server_process(tmp_path / "project") as (_, base),
        httpx.Client(base_url=base, cookies=cookies) as again,
    ):
        answer = again.post("/work", data={**form, "do": "3"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/work")
    with open_project(tmp_path / "project") as project:
        assert verify(project).labels == 1
