"""The pages of annotators (guide, items, lessons of the training round) and of adjudicators."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import adjudication, people, rules, work
from flames.annotation.adjudication import Case
from flames.annotation.progress import read_progress
from flames.annotation.tasks import (
    MAX_RATIONALE,
    UNJUDGEABLE,
    Answer,
    GoneError,
    Pace,
    ReasonMissingError,
    Shown,
    Task,
    TooSoonError,
    rubric,
)
from flames.annotation.web.render import language
from flames.annotation.web.session import FormField, Visit, checked, only, visit_by_form
from flames.errors import UsageError

router = APIRouter()

_Annotator = Annotated[Visit, Depends(only("annotator"))]
_AnnotatorForm = Annotated[Visit, Depends(checked("annotator"))]
_Adjudicator = Annotated[Visit, Depends(only("adjudicator", "lead"))]
_AdjudicatorForm = Annotated[Visit, Depends(checked("adjudicator", "lead"))]


@router.get("/guide")
def guide(visit: _Annotator) -> Response:
    """Shows how to judge, the project's own guideline, and which keys to press."""
    progress, person = read_progress(visit.project, visit.me), visit.session.person
    versions = rules.read_guidelines(visit.project)
    now = versions[0] if versions else None
    before = next((each for each in versions if each.version == person.guideline), None)
    unread = now is not None and now.version > person.guideline
    lang = language(visit.request, visit.session)
    changes = _changes(before.text(lang), now.text(lang)) if unread and before and now else []
    return _page(
        visit, "guide.html", progress=progress, taxonomy=visit.project.taxonomy, guideline=now,
        unread=unread, changes=changes,
    )  # fmt: skip


def _changes(before: str, now: str) -> list[tuple[str, str]]:
    """Returns the lines that are gone and new, each with `-` or `+`."""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), n=0, lineterm="")
    return [(line[0], line[1:]) for line in list(lines)[2:] if line[0] in "+-" and line[1:].strip()]


@router.post("/guide")
def have_read(visit: _AnnotatorForm, version: FormField = "") -> Response:
    """Notes that the reader has read the guideline, and goes on to the items."""
    if version.isdecimal() and len(version) < 9:
        rules.read_guideline(visit.project, visit.me, int(version))
    return RedirectResponse("/work", 303)


def _unread(visit: Visit) -> bool:
    """Tells whether there is a version of the guideline that the annotator has not read."""
    return visit.session.guideline > visit.session.person.guideline


@router.get("/work")
def work_page(visit: _Annotator) -> Response:
    """Shows the current item, or the next one; a new version of the guideline comes first."""
    if _unread(visit):
        return RedirectResponse("/guide", 303)
    return _work_page(visit, work.current(visit.project, visit.me))


@router.get("/adjudicate")
def adjudicate(visit: _Adjudicator) -> Response:
    """Shows the current item to decide, or the next one."""
    return _case_page(visit, adjudication.current_case(visit.project, visit.me))


def _page(visit: Visit, template: str, item: Task | Case | None = None, **context: Any) -> Response:
    if item is not None:
        taxonomy = visit.project.taxonomy
        context["rubric"] = list(rubric(taxonomy, item.dimension, item.subcomponent))
    return visit.page(template, **{"problem": None, "max_rationale": MAX_RATIONALE, **context})


def _work_page(visit: Visit, task: Task | None, **context: Any) -> Response:
    context["progress"] = read_progress(visit.project, visit.me)
    if task is None:
        with visit.project.database.look() as connection:
            held = people.is_held(connection, visit.me)
        return _page(visit, "waiting.html" if held else "done.html", **context)
    if task.suggestion is not None:
        with visit.project.database.look() as connection:
            context["rules"] = rules.read_rules(connection)
    context = {"rationale": task.rationale, "version": visit.session.guideline, **context}
    return _page(visit, "work.html", task, task=task, **context)


def _case_page(visit: Visit, case: Case | None, **context: Any) -> Response:
    with visit.project.database.read() as connection:
        context["waiting"] = adjudication.count_open(connection)
    if case is None:
        return _page(visit, "adjudicated.html", **context)
    score = "" if case.score is None else str(case.score)
    context = {"score": score, "reason": case.reason, "unjudgeable": UNJUDGEABLE, **context}
    return _page(visit, "adjudicate.html", case, case=case, **context)


@router.post("/work")
def answer(
    request: Request,
    csrf: FormField = "",
    do: FormField = "",
    ticket: FormField = "",
    rationale: FormField = "",
    waited: FormField = "",
    guideline: FormField = "",
    suggested: FormField = "",
) -> Response:
    """Takes an answer: a score, `skip`, `flag`, or `undo` for the previous one."""
    visit = visit_by_form(request, csrf, "annotator")
    project, me, pace = visit.project, visit.me, _pace(visit, waited)
    try:
        if do == "undo":
            work.undo(project, me, pace)
            return _go_on(visit, notice="undone")
        what: Answer = "skip" if do == "skip" else "flag" if do == "flag" else "label"
        score = _parse_score(do) if what == "label" else None
        answered = work.answer(
            project, me, ticket, what, score=score, rationale=rationale, pace=pace,
            shown=Shown(_maybe_number(guideline), _maybe_number(suggested)),
        )  # fmt: skip
    except UsageError as error:
        text = "" if do == "undo" else rationale
        shown = {"problem": "work.refused", "rationale": text[:MAX_RATIONALE]}
        return _refuse(visit, error, ticket, text, **shown)
    if answered.kind == "training":
        return RedirectResponse(f"/work/lesson/{ticket}", 303)
    return _go_on(visit, answered.following)


@router.post("/adjudicate")
def decide(
    visit: _AdjudicatorForm,
    do: FormField = "",
    ticket: FormField = "",
    score: FormField = "",
    reason: FormField = "",
    waited: FormField = "",
) -> Response:
    """Takes a decision, puts the item aside, or takes back the last decision."""
    project, me, pace = visit.project, visit.me, _pace(visit, waited)
    try:
        if do == "undo":
            adjudication.undo_decision(project, me, pace)
            return _go_on(visit, notice="undone")
        if do == "aside":
            adjudication.put_aside(project, me, ticket, pace)
        else:
            number = None if score == UNJUDGEABLE else _parse_score(score)
            adjudication.decide(project, me, ticket, score=number, reason=reason, pace=pace)
    except UsageError as error:
        text = "" if do in ("undo", "aside") else reason
        shown = {"score": score[:10], "reason": text[:MAX_RATIONALE]}
        return _refuse(visit, error, ticket, text, problem="adjudicate.incomplete", **shown)
    return _go_on(visit)


def _pace(visit: Visit, waited: str) -> Pace:
    state = visit.request.app.state
    seconds = int(waited) / 1000 if waited.isdecimal() and len(waited) < 12 else None
    return Pace(state.settle, seconds, state.min_seconds)


def _maybe_number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 9 else None


def _parse_score(text: str) -> int:
    if text.isdecimal() and len(text) < 3:
        return int(text)
    raise UsageError("an answer needs a score")


# How to find and show the next item, by the path of its page and form.
_DESKS: dict[str, tuple[Callable[..., Task | Case | None], Callable[..., Response]]] = {
    "/work": (work.current, _work_page),
    "/adjudicate": (adjudication.current_case, _case_page),
}


def _refuse(visit: Visit, error: UsageError, ticket: str, text: str, **shown: str) -> Response:
    """Shows the item of a refused form again; if it is gone, the next one and the unsaved text."""
    find, page = _DESKS[visit.request.url.path]
    item = None if isinstance(error, GoneError) else find(visit.project, visit.me)
    if item is None or item.ticket != ticket:
        return _go_on(visit, notice=getattr(error, "why", "gone"), unsaved=text)
    if isinstance(error, TooSoonError):
        shown["problem"] = "work.too_soon"
    if isinstance(error, ReasonMissingError):
        shown["problem"] = "work.flag_reason"
    return page(visit, item, status_code=422, **shown)


def _go_on(
    visit: Visit, task: Task | None = None, *, notice: str | None = None, unsaved: str = ""
) -> Response:
    """Shows the next item: at once to our own script and beside unsaved text, else by redirect."""
    unsaved, path = unsaved.strip()[:MAX_RATIONALE], visit.request.url.path
    if not (visit.request.headers.get("x-flames-page") == "1" or unsaved):
        return RedirectResponse(f"{path}?notice={notice}" if notice else path, 303)
    if path == "/work" and not unsaved and _unread(visit):
        return RedirectResponse("/guide", 303)
    find, page = _DESKS[path]
    item = task or find(visit.project, visit.me)
    return page(visit, item, notice=notice, unsaved=unsaved)


@router.get("/work/lesson/{ticket}")
def lesson(visit: _Annotator, ticket: str) -> Response:
    """Shows what an answered training item teaches; any other item leads back to the work."""
    found = work.feedback(visit.project, visit.me, ticket)
    if found is None:
        return RedirectResponse("/work", 303)
    return _page(visit, "lesson.html", found.task, task=found.task, lesson=found)
