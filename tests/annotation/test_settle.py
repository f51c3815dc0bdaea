"""An item takes an answer only after it was shown: double clicks, taps and keys, quick people."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from annotating import Clock, Visitor, known, label, person_id, responses, served, write

from flames.annotation import (
    Project,
    adjudication,
    export,
    project_status,
    verify,
    work,
)
from flames.annotation.options import SETTLE_SECONDS
from flames.annotation.tasks import ANY_PACE, Pace, TooSoonError

SETTLED = {"settle": SETTLE_SECONDS}
ITEMS = 50


def ticket_of(page: Any) -> str | None:
    return page.locator("input[name=ticket]").get_attribute("value")


def click(page: Any) -> None:
    box = page.locator("button.score").first.bounding_box()
    page.mouse.click(box["x"] + 20, box["y"] + 20)


def tap(page: Any) -> None:
    box = page.locator("button.score").first.bounding_box()
    page.touchscreen.tap(box["x"] + 20, box["y"] + 20)


def key(page: Any) -> None:
    page.keyboard.press("3")


@pytest.mark.chromium
@pytest.mark.parametrize("answer", [click, tap, key])
def test_the_second_of_two_answers_labels_nothing_unread(
    make_local: Any, browser: Any, clock: Clock, answer: Callable[[Any], None]
) -> None:
    """The page's time stands still but where the test moves it: nothing depends on speed."""
    project: Any = make_local(responses(ITEMS, ("alpha",)))
    context = browser.new_context(has_touch=True)
    page = context.new_page()
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    unread = 0
    with served(project, **SETTLED) as base:
        page.goto(f"{base}/join/{project.links['Ann']}")
        page.get_by_role("button").first.click()
        page.wait_for_url("**/guide")
        page.goto(f"{base}/work")
        for _ in range(ITEMS):
            before = ticket_of(page)
            for milliseconds in (0, 100, 300, 150):  # together 550 ms: all of them a second click
                page.clock.run_for(milliseconds)
                answer(page)
                unread += ticket_of(page) != before or page.locator(".busy").count()
            page.clock.run_for(200)
            clock.pass_(seconds=1)
            answer(page)
            page.wait_for_function(
                "t => document.querySelector('input[name=ticket]')?.value !== t && "
                "!document.body.classList.contains('busy')",
                arg=before,
            )
    context.close()
    assert unread == 0
    given = [json.loads(line) for line in export(project).text.splitlines()]
    assert len(given) == ITEMS
    assert all(line["seconds"] >= SETTLE_SECONDS for line in given)


@pytest.mark.chromium
def test_a_double_click_without_scripts_labels_nothing_unread(
    make_local: Any, browser: Any, clock: Clock
) -> None:
    project: Any = make_local(responses(3, ("alpha",)))
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    with served(project, **SETTLED) as base:
        page.goto(f"{base}/join/{project.links['Ann']}")
        page.get_by_role("button").first.click()
        page.goto(f"{base}/work")
        page.fill("#rationale", "read and thought about")
        first = ticket_of(page)
        page.click("button[value='3']")
        assert "had only just appeared" in page.locator(".note[role=alert]").inner_text()
        assert (ticket_of(page), page.input_value("#rationale")) == (
            first,
            "read and thought about",
        )
        clock.pass_(seconds=1)
        page.click("button[value='3']")
        second = ticket_of(page)
        assert second != first
        page.click("button[value=undo]")
        assert ticket_of(page) == second
    context.close()
    assert verify(project).labels == 1


def test_a_form_that_comes_too_soon_is_refused_and_the_item_stays(
    make_local: Any, clock: Clock
) -> None:
    project = make_local(responses(3, ("alpha",)))
    with (
        served(project, **SETTLED) as base,
        Visitor(base, project.links["Ann"]) as ann,
    ):
        ann.get("/work")
        ticket = ann.field("ticket")
        for do in ("3", "skip", "flag", "undo"):
            assert ann.post("/work", do=do, rationale="text to keep") in (200, 422)
            assert ann.field("ticket") == ticket
            assert "text to keep" in ann.page or do == "undo"
        clock.pass_(seconds=1)
        assert ann.post("/work", do="3", waited="100") == 422  # by the page's own clock
        assert ann.field("ticket") == ticket
        for waited in ("100000", "", "-1", "x", "9" * 40):
            assert ann.post("/work", do="3", waited=waited) == 200
            assert ann.field("ticket") != ticket
            ticket = ann.field("ticket")
            clock.pass_(seconds=1)
            if not ticket:
                break
    assert project_status(project).labels == 3
    assert verify(project).problems == ()


def test_adjudicators_decide_nothing_unread(make_project: Any, clock: Clock) -> None:
    project = make_project(responses(3, ("alpha",)))
    label(project, "Ann", 1)
    label(project, "Bob", 3)
    cat = person_id(project, "Cat")
    pace = Pace(settle=SETTLE_SECONDS)
    case = adjudication.current_case(project, cat)
    assert case is not None
    ticket = str(case.ticket)
    with pytest.raises(TooSoonError):
        adjudication.decide(project, cat, ticket, score=3, reason="because", pace=pace)
    with pytest.raises(TooSoonError):
        adjudication.put_aside(project, cat, ticket, pace)
    clock.pass_(seconds=1)
    adjudication.decide(project, cat, ticket, score=3, reason="because", pace=pace)
    assert adjudication.current_case(project, cat) is not None
    with pytest.raises(TooSoonError):
        adjudication.undo_decision(project, cat, pace)
    clock.pass_(seconds=1)
    adjudication.undo_decision(project, cat, pace)
    assert verify(project).problems == ()


def answer_after(project: Project, clock: Clock, seconds: float, pace: Pace = ANY_PACE) -> None:
    me = person_id(project, "Ann")
    task = work.current(project, me)
    assert task is not None
    clock.pass_(seconds=seconds)
    work.answer(project, me, task.ticket, "label", score=3, pace=pace)


def test_answers_under_the_floor_are_marked_and_kept(make_project: Any, clock: Clock) -> None:
    project = make_project(responses(8, ("alpha",)), min_seconds=3)
    for seconds in (1, 2.5, 3.5, 8):
        answer_after(project, clock, seconds)
    answer_after(project, clock, 8, Pace(floor=10))  # a server that was started with its own
    lines = [json.loads(line) for line in export(project).text.splitlines()]
    marks = sorted((round(line["seconds"], 1), line.get("under_floor") or 0) for line in lines)
    assert marks == [(1.0, 3.0), (2.5, 3.0), (3.5, 0), (8.0, 0), (8.0, 10)]
    [ann] = [p for p in project_status(project).people if p.name == "Ann"]
    assert (ann.labels, ann.timed, ann.under_floor, ann.median_seconds) == (5, 5, 3, 3.5)
    assert ann.under_floor_share is not None
    assert ann.under_floor_share.value == 60
    assert ann.under_floor_share.low < 60 < ann.under_floor_share.high
    [bob] = [p for p in project_status(project).people if p.name == "Bob"]
    assert (bob.timed, bob.under_floor_share) == (0, None)
    # A correction takes less time than reading did.
    work.undo(project, person_id(project, "Ann"))
    answer_after(project, clock, 1)
    [ann] = [p for p in project_status(project).people if p.name == "Ann"]
    assert ann.under_floor == 2
    assert verify(project).problems == ()


def test_leads_see_who_is_quick(make_local: Any, clock: Clock, tmp_path: Any) -> None:
    controls = write(tmp_path / "controls.jsonl", known(4))
    project = make_local(responses(8, ("alpha",)), min_seconds=2.5, controls=(controls,))
    answer_after(project, clock, 1)
    answer_after(project, clock, 9)
    with served(project) as base, Visitor(base, project.links["lead"]) as lead:
        lead.http.headers["accept-language"] = "en"
        lead.get("/lead")
        assert "under 2.5 s %" in lead.page
        assert "1/2 · 50" in lead.page


def test_without_a_floor_nothing_is_marked(make_project: Any, clock: Clock) -> None:
    project = make_project(responses(2, ("alpha",)))
    answer_after(project, clock, 0)
    [ann] = [p for p in project_status(project).people if p.name == "Ann"]
    assert (ann.timed, ann.under_floor, ann.under_floor_share) == (1, 0, None)
    assert '"under_floor"' not in export(project).text
