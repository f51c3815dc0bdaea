"""Who may do what over HTTP: sessions, roles, forms, limits, headers."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from annotating import Clock, Visitor, person_id, responses, served, write

from flames.annotation import (
    Project,
    ProjectPlan,
    access,
    create_project,
    people,
    project_status,
    verify,
    work,
)
from flames.errors import UsageError
from flames.reports.words import say
from flames.taxonomy import default_taxonomy


def is_session(cookie: str) -> bool:
    return "flames_session" in cookie


PAGES = {
    "annotator": ["/work", "/guide"],
    "adjudicator": ["/adjudicate"],
    "lead": ["/lead", "/lead/people", "/lead/disagreements", "/lead/export", "/adjudicate",
             "/lead/label-studio.xml"],
}  # fmt: skip
NAMES = {"annotator": "Ann", "adjudicator": "Cat", "lead": "lead"}


@pytest.fixture
def enter(project: Any, base: str) -> Iterator[Any]:
    visitors: list[Visitor] = []

    def as_(name: str) -> Visitor:
        visitors.append(Visitor(base, project.links[name]))
        return visitors[-1]

    yield as_
    for visitor in visitors:
        visitor.close()


def test_every_role_sees_its_own_pages_alone(enter: Any) -> None:
    for role, name in NAMES.items():
        visitor = enter(name)
        for owner, pages in PAGES.items():
            for page in pages:
                allowed = owner == role or page in PAGES[role]
                assert visitor.get(page) == (200 if allowed else 403), (role, page)


@pytest.mark.parametrize("path", [p for pages in PAGES.values() for p in pages] + ["/account"])
def test_nobody_sees_anything_without_signing_in(base: str, path: str) -> None:
    answer = httpx.get(base + path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")


def test_an_annotator_cannot_reach_other_items_by_guessing(enter: Any, project: Project) -> None:
    ann, bob = enter("Ann"), enter("Bob")
    ann.get("/work")
    bob.get("/work")
    theirs = bob.field("ticket")
    assert theirs
    assert theirs != ann.field("ticket")
    guesses = ["/work/1", "/lead/item/1", "/lead/item/../export", "/static/../../labels.db",
               "/openapi.json", "/docs"]  # fmt: skip
    for path in (f"/work/{theirs}", f"/work/lesson/{theirs}", *guesses):
        status = ann.get(path)
        assert status in (403, 404) or ann.field("ticket") != theirs
        assert theirs not in ann.page.replace(path, "")
    ann.get("/work")
    ann.post("/work", ticket=theirs, do="3")
    assert project_status(project).labels == 0
    bob.get("/work")
    bob.post("/work", do="3", rationale="nur für den Lead")
    for path in ("/work", "/guide", "/account", "/lead", "/adjudicate", "/lead/export?what=all"):
        ann.get(path)
        assert "nur für den Lead" not in ann.page
        assert "Bob" not in ann.page


def test_annotators_learn_neither_model_nor_controls(enter: Any, project: Project) -> None:
    ann = enter("Ann")
    ann.get("/work")
    shapes: dict[str, set[str]] = {"work": set(), "control": set()}
    while ann.field("ticket"):
        me = person_id(project, "Ann")
        task = work.current(project, me)
        assert task is not None
        shown = re.sub(r"[\w-]{20,}", "", ann.page)  # tokens may hold any letters by chance
        for hidden in ("secret-model", "control", "known", "p1", task.ref, "gold"):
            assert hidden not in shown, hidden
        if len(task.dimension.scale) == 3:  # all that is left without words is the same
            bare = re.sub(r'(value|max|aria-label)="[^"]*"', "", ann.page)
            bare = re.sub(r'<div class="rulings.*?</div>', "", bare, flags=re.S)  # by subcomponent
            bare = re.sub(r">[^<]*<", "><", bare)
            shapes[task.kind].add(bare)
        ann.post("/work", do="3")
    assert shapes["control"]
    assert shapes["control"] == shapes["work"]


def test_a_form_without_its_token_changes_nothing(enter: Any, project: Project) -> None:
    ann = enter("Ann")
    ann.get("/work")
    ticket, token = ann.field("ticket"), ann.field("csrf")
    bob = enter("Bob")
    bob.get("/work")
    stolen = bob.field("csrf")
    assert stolen != token
    for csrf in ("", "x", stolen, token + "x"):
        answer = ann.http.post("/work", data={"csrf": csrf, "ticket": ticket, "do": "3"})
        assert answer.status_code == 403
    for path in ("/signout", "/language", "/account/password"):
        assert ann.http.post(path, data={"password": "x" * 20}).status_code == 403
    lead = enter("lead")
    assert lead.http.post("/lead/people", data={"do": "add", "name": "Eve"}).status_code == 403
    cat = enter("Cat")
    assert cat.http.post("/adjudicate", data={"do": "undo"}).status_code == 403
    cat.get("/adjudicate")
    answer = cat.http.post("/work", data={"csrf": cat.field("csrf"), "ticket": ticket, "do": "3"})
    assert answer.status_code == 403  # a token of their own, but not an annotator
    assert project_status(project).labels == 0
    assert verify(project).problems == ()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_cannot_post(enter: Any, project: Project, headers: dict[str, str]) -> None:
    ann = enter("Ann")
    ann.get("/work")
    form = {"csrf": ann.field("csrf"), "ticket": ann.field("ticket"), "do": "3"}
    assert ann.http.post("/work", data=form, headers=headers).status_code == 403
    assert verify(project).labels == 0
    same = {"Origin": str(ann.http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert ann.http.post("/work", data=form, headers=same).status_code == 303
    assert verify(project).labels == 1


def test_a_session_cannot_be_fixed_beforehand(project: Any, base: str) -> None:
    name = f"flames_session_{project.key}"
    with httpx.Client(base_url=base) as victim:
        victim.cookies.set(name, "chosen-by-the-attacker")
        assert victim.get("/work").headers["location"] == "/signin"
        page = victim.get(f"/join/{project.links['Ann']}")
        form = re.findall(r'name="form" value="([^"]+)"', page.text)[0]
        answer = victim.post(f"/join/{project.links['Ann']}", data={"form": form})
        fresh = re.findall(name + r"=([^;]+)", answer.headers["set-cookie"])[0]
        assert fresh != "chosen-by-the-attacker"
    stolen = httpx.get(f"{base}/work", cookies={name: "chosen-by-the-attacker"})
    assert stolen.headers["location"] == "/signin"
    # Signing in again in the same browser ends the session before.
    with Visitor(base, project.links["Ann"]) as again:
        old = again.http.cookies[name]
        again.enter(project.links["Bob"])
        assert again.http.cookies[name] != old
    assert httpx.get(f"{base}/work", cookies={name: old}).status_code == 303


def test_cookies_are_closed_to_scripts_and_other_sites(project: Any, base: str) -> None:
    with httpx.Client(base_url=base) as visitor:
        page = visitor.get(f"/join/{project.links['Ann']}")
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(
            page.headers["set-cookie"].split("; ")
        )
        form = re.findall(r'name="form" value="([^"]+)"', page.text)[0]
        answer = visitor.post(f"/join/{project.links['Ann']}", data={"form": form})
        cookie = answer.headers.get_list("set-cookie")[0].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secure" not in cookie
    with served(project, public_url="https://labels.example.org") as address:
        answer = httpx.get(f"{address}/join/{project.links['Ann']}")
        assert answer.headers["set-cookie"].startswith(f"__Host-flames_form_{project.key}=")
        assert "Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


def test_following_a_link_alone_signs_nobody_in(project: Any, base: str) -> None:
    with httpx.Client(base_url=base) as visitor:
        visitor.get(f"/join/{project.links['Ann']}")
        assert not list(filter(is_session, visitor.cookies))
        assert visitor.post(f"/join/{project.links['Ann']}", data={"form": "x"}).status_code == 403


def test_links_stop_working(project: Any, base: str, enter: Any) -> None:
    ann = enter("Ann")
    lead = enter("lead")
    lead.get("/lead/people")
    lead.post("/lead/people", do="link", name="ann")  # asks back first
    assert "/join/" not in lead.page
    assert 'name="name" value="Ann"' in lead.page
    assert httpx.get(f"{base}/join/{project.links['Ann']}").status_code == 200
    lead.post("/lead/people", do="link", name="Ann", sure="yes")
    fresh = re.findall(r"/join/([\w-]+)</code>", lead.page)[0]
    assert ann.get("/work") == 200
    assert ann.field("ticket") == ""  # on the sign-in page: the open session ended, too
    assert httpx.get(f"{base}/join/{project.links['Ann']}").status_code == 404
    with Visitor(base, fresh) as again:
        assert again.get("/work") == 200
        lead.get("/lead/people")
        lead.post("/lead/people", do="stop", name="Ann")
        assert again.get("/work") == 200
        assert again.field("ticket")
        lead.post("/lead/people", do="stop", name="Ann", sure="yes")
        assert again.get("/work") == 200
        assert again.field("ticket") == ""
    assert httpx.get(f"{base}/join/{fresh}").status_code == 404
    lead.get("/lead/people")
    assert lead.post("/lead/people", do="stop", name="lead", sure="yes") == 422  # not oneself
    assert lead.post("/lead/people", do="stop", name="nobody") == 400
    with project.database.read() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM people").all())
        stored += str(connection.exec_driver_sql("SELECT * FROM events").all())
        stored += str(connection.exec_driver_sql("SELECT * FROM sessions").all())
    assert fresh not in stored
    assert lead.http.cookies[f"flames_session_{project.key}"] not in stored


def sign_in(base: str, name: str, password: str) -> int:
    with Visitor(base) as visitor:
        visitor.get("/signin")
        return visitor.post("/signin", name=name, password=password)


def test_passwords(project: Project, base: str, enter: Any, clock: Clock) -> None:
    ann = enter("Ann")
    ann.get("/account")
    assert ann.post("/account/password", password="short") == 400
    ann.get("/account")
    assert ann.post("/account/password", password="a good passphrase") == 200
    assert ann.get("/work") == 200
    assert ann.field("ticket")
    assert sign_in(base, "ann", "a good passphrase") == 200
    for name in ("Ann", "Bob", "nobody", "Ann\x00"):
        assert sign_in(base, name, "a wrong passphrase") == 401
    with project.database.read() as connection:
        [row] = connection.exec_driver_sql("SELECT password_hash FROM people WHERE name = 'Ann'")
    assert row[0].startswith("$argon2id$")


def test_guessing_is_slowed_down(project: Project, base: str, clock: Clock) -> None:
    with project.database.write() as connection:
        ann = people.get_person(connection, "Ann")
        access.set_password(connection, project, ann, "a good passphrase")
    statuses = [sign_in(base, "Ann", f"guess number {n}") for n in range(10)]
    assert statuses == [401] * 8 + [429] * 2
    assert sign_in(base, "ANN", "a good passphrase") == 429
    assert sign_in(base, "Bob", "a good passphrase") == 401  # others are not locked out
    clock.pass_(minutes=16)
    assert sign_in(base, "Ann", "a good passphrase") == 200


def test_tries_from_one_address_are_counted_over_all_names(project: Project) -> None:
    for number in range(100):
        access.admit_try(project, "203.0.113.7", f"name {number}")
    with pytest.raises(access.TooManyTriesError):
        access.admit_try(project, "203.0.113.7", "another")
    noted = access.admit_try(project, "203.0.113.8", "another")
    access.forgive(project, noted)


def test_a_clock_that_was_set_ahead_locks_nobody_out(project: Project, clock: Clock) -> None:
    clock.pass_(days=400)
    for _ in range(8):
        access.admit_try(project, "203.0.113.7", "Ann")
    with pytest.raises(access.TooManyTriesError):
        access.admit_try(project, "203.0.113.7", "Ann")
    clock.pass_(days=-400)
    access.admit_try(project, "203.0.113.7", "Ann")


def test_sessions_end(enter: Any, clock: Clock, base: str) -> None:
    ann = enter("Ann")
    assert ann.get("/work") == 200
    clock.pass_(days=15)
    assert ann.http.get("/work").headers["location"] == "/signin"
    bob = enter("Bob")
    bob.get("/account")
    [name] = filter(is_session, bob.http.cookies)
    cookie = bob.http.cookies[name]
    bob.post("/signout")
    assert httpx.get(f"{base}/work", cookies={name: cookie}).status_code == 303


def test_every_answer_carries_the_policy(base: str, enter: Any) -> None:
    ann = enter("Ann")
    for path in ("/work", "/signin", "/nothing", "/lead", "/static/app.js", "/health"):
        headers = ann.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
        assert float(re.findall(r"dur=([\d.]+)", headers["server-timing"])[0]) >= 0
    assert ann.http.get("/work").headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", ann.page)


def test_a_failing_page_keeps_the_policy_and_tells_nothing(enter: Any, project: Project) -> None:
    ann = enter("Ann")
    with project.database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET response = '{secret'")
    answer = ann.http.get("/work")
    assert answer.status_code == 500
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_too_much_is_refused(enter: Any, project: Project) -> None:
    ann = enter("Ann")
    ann.get("/work")
    assert ann.post("/work", do="3", rationale="长" * 4001) == 422
    assert ann.field("ticket")
    assert ann.http.post("/work", content=b"x" * 300_000).status_code == 413
    chunked = ann.http.post("/work", content=iter([b"csrf=x"]))
    assert chunked.status_code == 411
    for do in ("", "9", "33", "-1", "label", "３"):
        ann.get("/work")
        assert ann.post("/work", do=do) in (200, 422)
    assert project_status(project).filled == 0


def test_the_language_form_leads_nowhere_else(enter: Any) -> None:
    ann = enter("Ann")
    ann.get("/guide")
    token = ann.field("csrf")
    for back in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
    ):
        answer = ann.http.post("/language", data={"csrf": token, "lang": "en", "back": back})
        assert answer.headers["location"] == "/"
    ann.get("/guide")
    assert "How to judge" in ann.page


def test_names_with_markup_are_escaped(enter: Any, project: Project) -> None:
    lead = enter("lead")
    lead.get("/lead/people")
    lead.post("/lead/people", do="add", name="<img src=x onerror=alert(1)>", role="annotator")
    assert "<img src=x" not in lead.page
    assert "&lt;img src=x" in lead.page


def test_a_database_that_went_away_is_told_and_comes_back(postgres_url: str, tmp_path: Any) -> None:
    import psycopg

    source = write(tmp_path / "r.jsonl", responses())
    plan = ProjectPlan(sources=[source], database=postgres_url, training=(), annotators=("Ann",))
    created = create_project(tmp_path / "pg", plan)
    with served(created.project) as base, Visitor(base, created.links["Ann"]) as ann:
        assert ann.get("/work") == 200
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        statuses = [ann.get("/work") for _ in range(3)]
        assert statuses[-1] == 200
        assert set(statuses) <= {503, 200}
    created.project.close()


@pytest.mark.parametrize(
    "url",
    [
        "labels.example.org",
        "ftp://x",
        "https://",
        "https://x/../y",
        "https://x/a b",
        "https://x//y",
        "https://x/?q",
        "https://u@x",
        "http://[",
    ],
)
def test_public_addresses_are_checked(url: str) -> None:
    from flames.annotation.options import checked_url

    with pytest.raises(UsageError, match="--url takes"):
        checked_url(url)


def test_annotators_see_the_rulings_on_their_item(enter: Any) -> None:
    ann = enter("Ann")
    ann.get("/guide")
    assert all(say(f"guide.{n}").en in html.unescape(ann.page) for n in range(1, 10))
    ann.get("/work")
    shown = html.unescape(ann.page)
    dimension, part = re.findall(r'class="place"><span[^>]*>([^<]+)</span> <span>([^<]+)<', shown)[
        0
    ]
    found = default_taxonomy().dimension(dimension)
    rulings = found.rulings_on(found.subcomponent(part))
    assert all(f"<li>{ruling.en}</li>" in shown for ruling in rulings)
    assert (say("work.rulings").en in shown) == bool(rulings)


def test_the_icon_stays_in_the_browser(base: str) -> None:
    icon = httpx.get(f"{base}/static/icon.svg")
    assert "max-age" in icon.headers["cache-control"]
    for name in ("icon.svg", "app.js", "app.css"):
        first = httpx.get(f"{base}/static/{name}")
        seen = {"If-None-Match": first.headers["etag"]}
        assert httpx.get(f"{base}/static/{name}", headers=seen).status_code == 304
        seen = {"If-None-Match": '"another"'}
        assert httpx.get(f"{base}/static/{name}", headers=seen).content == first.content


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_guide_says_who_sees_scores(enter: Any, lang: str) -> None:
    ann = enter("Ann")
    ann.http.headers["accept-language"] = lang
    ann.get("/guide")
    shown = html.unescape(ann.page)
    assert say("work.private")(lang) in shown  # type: ignore[arg-type]
    for word in ("负责人", "裁决人", "姓名") if lang == "zh" else ("leads see", "with your name"):
        assert word in shown
