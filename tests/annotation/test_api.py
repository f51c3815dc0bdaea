"""The JSON interface: the same rules as on the pages, by token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from annotating import Clock, served

from flames.annotation import Project, access, export, people, project_status, verify
from flames.annotation.options import LinkOptions
from flames.errors import UsageError


@pytest.fixture
def program(project: Project, base: str) -> Iterator[Any]:
    clients: list[httpx.Client] = []

    def of(name: str, days: float = 1) -> httpx.Client:
        token = access.give_token(project, name, days)
        headers = {"authorization": f"Bearer {token}"}
        clients.append(httpx.Client(base_url=f"{base}/api", headers=headers, timeout=60))
        return clients[-1]

    yield of
    for client in clients:
        client.close()


LEADS = ("/status", "/items", "/items/x", "/labels", "/people", "/decisions/open")


def test_an_annotator_labels_to_the_end(program: Any, project: Project) -> None:
    ann = program("Ann")
    assert ann.get("/me").json() == {"name": "Ann", "role": "annotator", "active": True,
                                     "held": None}  # fmt: skip
    state = ann.get("/work").json()
    said, done = "", 0
    while (item := state["item"]) is not None:
        assert state["done"] == done
        assert item["rubric"][0]["score"] == 3
        said += json.dumps(state, ensure_ascii=False)
        given = {"ticket": item["ticket"], "score": 3, "rationale": f"理由 {item['item']}"}
        state, done = ann.post("/work", json=given).json(), done + 1
    assert done == state["done"]
    assert "secret-model" not in said
    assert "control" not in said
    rows = [json.loads(line) for line in export(project).text.splitlines()]
    assert len(rows) == project_status(project).labels == 12
    assert all(row["rationale"].startswith("理由") for row in rows)
    assert verify(project).problems == ()


def test_the_same_rules(program: Any, project: Project) -> None:
    ann, bob = program("Ann"), program("Bob")
    mine = ann.get("/work").json()["item"]
    theirs = bob.get("/work").json()["item"]
    assert ann.get("/work").json()["item"]["ticket"] == mine["ticket"]
    for given, status in (
        ({"ticket": theirs["ticket"], "score": 3}, 409),
        ({"ticket": "no", "score": 3}, 409),
        ({"ticket": mine["ticket"], "score": 9}, 422),
        ({"ticket": mine["ticket"], "answer": "skip", "score": 3}, 422),
        ({"ticket": mine["ticket"], "answer": "other"}, 422),
        ({"ticket": mine["ticket"], "score": 3, "rationale": "x" * 5000}, 422),
        ({"score": 3}, 422),
    ):
        answer = ann.post("/work", json=given)
        assert answer.status_code == status, given
        assert list(answer.json()) == ["error"]
    assert project_status(project).filled == 0
    for answer in ("skip", "flag"):
        mine = ann.get("/work").json()["item"]
        assert ann.post("/work", json={"ticket": mine["ticket"], "answer": answer}).is_success
    back = ann.post("/work/undo").json()["item"]
    assert back["ticket"]
    for path in LEADS:
        assert ann.get(path).status_code == 403
    assert program("lead").get("/work").status_code == 403
    assert program("Cat").get("/labels").status_code == 403


def test_an_item_that_was_only_just_shown(project: Project) -> None:
    token = access.give_token(project, "Ann", 1)
    headers = {"authorization": f"Bearer {token}"}
    with served(project, settle=60) as base, httpx.Client(headers=headers) as ann:
        item = ann.get(f"{base}/api/work").json()["item"]
        answer = ann.post(f"{base}/api/work", json={"ticket": item["ticket"], "score": 3})
        assert answer.status_code == 409
        assert "just been shown" in answer.json()["error"]


def test_leads_see_everything(program: Any, project: Project) -> None:
    ann, lead = program("Ann"), program("lead")
    for score in (3, 1, 3):
        ticket = ann.get("/work").json()["item"]["ticket"]
        ann.post("/work", json={"ticket": ticket, "score": score})
    found = lead.get("/items", params={"count": 5}).json()
    assert (found["total"], len(found["items"])) == (12, 5)
    rest = lead.get("/items", params={"start": 5, "count": 999}).json()["items"]
    every = found["items"] + rest
    assert len({item["item"] for item in every}) == 12
    given = [label for item in every for label in item["labels"]]
    assert {label["annotator"] for label in given} <= {"Ann"}
    assert len(given) == project_status(project).labels
    one = lead.get(f"/items/{every[0]['item']}").json()
    assert one == every[0]
    assert one["model"] == "secret-model-1"
    assert lead.get("/items/none").status_code == 404
    assert lead.get("/status").json()["labels"] == len(given)
    assert lead.get("/labels").text == export(project).text
    seq = lead.get("/labels").headers["x-flames-event"]
    access.give_password(project, "Bob", "a good passphrase")
    assert lead.get("/labels", params={"until": seq}).status_code == 200
    assert lead.get("/labels", params={"until": "99999"}).status_code == 422
    assert lead.get("/labels", params={"what": "nothing"}).status_code == 422
    assert lead.get("/decisions/open").json() == []


def test_leads_invite(program: Any, project: Project, base: str) -> None:
    lead = program("lead")
    made = lead.post("/people", json={"name": "Eve"})
    assert made.status_code == 201
    token = made.json()["link"].rpartition("/")[2]
    assert httpx.get(f"{base}/join/{token}").status_code == 200
    assert lead.post("/people", json={"name": "eve"}).status_code == 422
    assert lead.post("/people", json={"name": "Dan", "role": "king"}).status_code == 422
    assert [person["name"] for person in lead.get("/people").json()][-1] == "Eve"
    assert program("Eve").get("/me").json()["role"] == "annotator"


def test_without_a_token_that_counts(
    project: Project, base: str, program: Any, clock: Clock
) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic QQ=="}):
        for path in ("/me", "/work", *LEADS):
            answer = httpx.get(f"{base}/api{path}", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    ann, bob, lead = program("Ann", days=2), program("Bob"), program("lead")
    access.renew_link(project, "Bob", LinkOptions())
    assert bob.get("/me").status_code == 401
    people.admit(project, "Ann", False)
    assert ann.get("/me").status_code == 401
    clock.pass_(days=1)
    assert lead.get("/me").status_code == 401
    said = "Ann is kept out"
    with pytest.raises(UsageError, match=said):
        access.give_token(project, "Ann", 1)


def test_a_browser_session_does_not_open_it(project: Any, base: str) -> None:
    entered = access.enter_by_link(project, project.links["lead"])
    assert entered is not None
    cookies = {f"flames_session_{project.key}": entered[1]}
    assert httpx.get(f"{base}/lead", cookies=cookies).status_code == 200
    assert httpx.get(f"{base}/api/people", cookies=cookies).status_code == 401


def test_it_describes_itself(base: str) -> None:
    told = httpx.get(f"{base}/api/openapi.json").json()
    assert told["servers"] == [{"url": "/api"}]
    paths = {"/me", "/work", "/work/undo", "/status", "/items", "/items/{ref}", "/labels",
             "/people", "/decisions/open", "/guideline", "/guideline/read", "/rules", "/batches",
             "/batches/{name}", "/people/{name}/quota", "/comments",
             "/comments/{number}"}  # fmt: skip
    assert set(told["paths"]) == paths
    for path in told["paths"].values():
        for operation in path.values():
            assert operation["description"]
            assert operation["security"] == [{"HTTPBearer": []}]
    assert httpx.get(f"{base}/api/nothing").json() == {"error": "Not Found"}


def test_under_a_path(project: Project) -> None:
    token = access.give_token(project, "Ann", 1)
    with served(project, public_url="https://example.org/label") as base:
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{base}/label/api/me", headers=headers).json()["name"] == "Ann"
        told = httpx.get(f"{base}/label/api/openapi.json").json()
        assert told["servers"] == [{"url": "/label/api"}]


def test_a_token_from_the_command_line(
    project: Project, base: str, flames: Any, tmp_path: Any
) -> None:
    code, out, _ = flames("annotate", "user", "token", tmp_path / "project", "lead", "--days", 1)
    assert code == 0
    headers = {"authorization": f"Bearer {out.strip()}"}
    assert httpx.get(f"{base}/api/me", headers=headers).json()["role"] == "lead"
    with project.database.read() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM sessions").all())
        stored += str(connection.exec_driver_sql("SELECT * FROM events").all())
    assert out.strip() not in stored


def test_leads_decide_by_program(program: Any, project: Project) -> None:
    lead, ann = program("lead"), program("Ann")
    assert ann.get("/guideline").status_code == 404
    made = lead.put("/guideline", json={"zh": "# 一", "after": 0})
    assert (made.status_code, made.json()["version"]) == (200, 1)
    assert lead.put("/guideline", json={"zh": "# 二", "after": 0}).status_code == 422
    state = ann.get("/work").json()
    assert (state["item"], state["unread"], state["guideline"]) == (None, True, 1)
    assert ann.post("/guideline/read", json={"version": 2}).status_code == 422
    assert ann.post("/guideline/read", json={"version": 1}).status_code == 204
    item = ann.get("/work").json()["item"]
    assert item["suggestion"] is None

    assert lead.patch("/rules", json={"flag_reason": True}).json()["flag_reason"] is True
    flag = {"ticket": item["ticket"], "answer": "flag"}
    assert ann.post("/work", json=flag).status_code == 422
    assert ann.post("/work", json={**flag, "rationale": "why"}).status_code == 200
    assert lead.patch("/rules", json={"suggestions": None}).status_code == 422

    batch = lead.put("/batches/one", json={"people": ["Ann", "Bob"], "count": 2})
    assert batch.json()["items"] == 2
    assert lead.put("/batches/two", json={"people": ["Ann"], "count": 1}).status_code == 422
    assert [each["name"] for each in lead.get("/batches").json()] == ["one"]
    assert lead.delete("/batches/one").status_code == 204
    assert lead.put("/people/Ann/quota", json={"labels": 1}).status_code == 204
    assert ann.get("/work").json()["item"] is not None  # in hand before the quota
    assert lead.put("/people/Ann/quota", json={"labels": -1}).status_code == 422

    said = ann.post("/comments", json={"item": item["item"], "text": "?"})
    assert said.status_code == 201
    answer = {"item": item["item"], "text": "!", "to": "Ann"}
    assert lead.post("/comments", json=answer).status_code == 201
    assert len(ann.get("/comments").json()) == 2
    assert program("Bob").get("/comments").json() == []
    assert program("Cat").get("/comments").status_code == 403
    assert ann.delete(f"/comments/{said.json()['number']}").status_code == 204
    for method, path in (("put", "/guideline"), ("get", "/rules"), ("get", "/batches")):
        assert ann.request(method, path, json={} if method == "put" else None).status_code == 403
    texts = [export(project, what).text for what in ("all", "known")]
    rows = [json.loads(line) for text in texts for line in text.splitlines()]
    assert {row["guideline"] for row in rows} == {1}
    assert verify(project).problems == ()
