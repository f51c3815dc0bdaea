"""Signing in: links that end, who locks whom out, what is noted of it, and where it may be seen."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from annotating import Clock, Visitor, served

from flames.annotation import Project, access, export, verify
from flames.annotation.events import read_events
from flames.annotation.options import InviteOptions, LinkOptions
from flames.errors import UsageError


def token_of(link: str) -> str:
    return link.rpartition("/")[2]


def signed_in(project: Project) -> list[tuple[int | None, dict[str, Any]]]:
    with project.database.read() as connection:
        return [(e.person, dict(e.data)) for e in read_events(connection) if e.kind == "signed_in"]


def test_a_link_ends_with_its_days(make_project: Any, clock: Clock) -> None:
    project = make_project()
    token = token_of(access.invite(project, "Eve", InviteOptions(days=2)))
    with served(project) as base:
        with Visitor(base, token) as eve:
            assert eve.get("/work") == 200
            clock.pass_(days=2)
            assert eve.get("/work") == 200
            assert eve.field("ticket")  # she stays signed in
        assert httpx.get(f"{base}/join/{token}").status_code == 404
        fresh = token_of(access.renew_link(project, "Eve", LinkOptions()))
        clock.pass_(days=400)
        assert httpx.get(f"{base}/join/{fresh}").status_code == 200
    assert verify(project).problems == ()


def test_a_link_that_works_once(make_project: Any) -> None:
    project = make_project()
    token = token_of(access.renew_link(project, "Ann", LinkOptions(once=True)))
    with served(project) as base:
        for _ in range(3):  # looking at it is not using it
            assert httpx.get(f"{base}/join/{token}").status_code == 200
        with Visitor(base, token) as ann:
            assert ann.get("/work") == 200
            assert ann.field("ticket")
            assert httpx.get(f"{base}/join/{token}").status_code == 404
            assert access.enter_by_link(project, token) is None
    assert verify(project).problems == ()


@pytest.mark.parametrize(
    "change", ["link_until = '2030-01-01T00:00:00.000000Z'", "link_once = 1", "link_hash = NULL"]
)
def test_verify_notices_a_changed_link(make_local: Any, change: str) -> None:
    project = make_local()
    with project.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE people SET {change} WHERE name = 'Ann'")
    assert len(verify(project).problems) == 1


def test_failed_tries_lock_no_link_out(make_local: Any) -> None:
    project = make_local()
    with served(project) as base:
        for number in range(101):
            try:
                access.admit_try(project, "127.0.0.1", f"name {number}")
            except access.TooManyTriesError:
                break
        else:
            pytest.fail("the address is not slowed down")
        with Visitor(base) as guesser:
            guesser.get("/signin")
            assert guesser.post("/signin", name="Ann", password="some password") == 429
            for _ in range(3):
                assert guesser.get("/join/a-wrong-link") == 404
        for name in ("Ann", "Bob"):
            with Visitor(base, project.links[name]) as visitor:
                assert visitor.get("/work") == 200
                assert visitor.field("ticket")


def test_sign_ins_are_events(make_project: Any) -> None:
    project = make_project()
    access.give_password(project, "Bob", "a good passphrase")
    with served(project) as base:
        with Visitor(base, project.links["Ann"]):
            pass
        with Visitor(base) as bob:
            bob.get("/signin")
            assert bob.post("/signin", name="bob", password="a wrong passphrase") == 401
            assert bob.post("/signin", name="bob", password="a good passphrase") == 200
    assert [data for _, data in signed_in(project)] == [{"by": "link"}, {"by": "password"}]
    assert verify(project).problems == ()
    assert export(project).rows == 0
    with project.database.read() as connection:
        said = json.dumps([[dict(e.data)] for e in read_events(connection)])
    assert project.links["Ann"] not in said
    assert "passphrase" not in said


def test_the_page_of_a_link_is_named_to_nobody(make_local: Any, capfd: Any, caplog: Any) -> None:
    project = make_local()
    token = project.links["Ann"]
    with served(project) as base:
        for name in (token, "unknown"):
            answer = httpx.get(f"{base}/join/{name}")
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
        with Visitor(base) as ann:
            ann.get(f"/join/{token}")
            form = {"form": ann.field("form")}
            # Without a referrer, browsers send this origin; where they say nothing else, it counts.
            elsewhere = {"origin": "null", "sec-fetch-site": "cross-site"}
            assert ann.http.post(f"/join/{token}", data=form, headers=elsewhere).status_code == 403
            answer = ann.http.post(f"/join/{token}", data=form, headers={"origin": "null"})
            assert answer.status_code == 303
            assert ann.http.post("/work", headers={"origin": "null"}).status_code == 403
    assert token not in "".join(capfd.readouterr()) + caplog.text


def test_links_from_the_command_line(make_local: Any, flames: Any, tmp_path: Any) -> None:
    project = make_local()
    folder = tmp_path / "project"
    code, out, _ = flames("annotate", "user", "link", folder, "Ann", "--once", "--days", 3)
    assert code == 0
    assert access.enter_by_link(project, token_of(out.strip())) is not None
    assert access.enter_by_link(project, token_of(out.strip())) is None
    code, out, _ = flames("annotate", "user", "add", folder, "Eve", "--days", "0.5")
    assert code == 0
    code, _, err = flames("annotate", "user", "link", folder, "Ann", "--days", 0)
    assert code == 2
    assert "--days" in err
    with pytest.raises(UsageError):
        LinkOptions(days=-1)
