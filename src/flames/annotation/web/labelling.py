"""The pages of annotators (guide, items, lessons of the training round) and of adjudicators."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import adjudication, work
from flames.annotation.adjudication import Case
from flames.annotation.people import LoginSession
from flames.annotation.tasks import MAX_RATIONALE, Answer, GoneError, Task, rubric
from flames.annotation.web.render import render
from flames.annotation.web.session import FormField, checked, only, project_of
from flames.errors import UsageError

router = APIRouter()

_Annotator = Annotated[LoginSession, Depends(only("annotator"))]
_AnnotatorForm = Annotated[LoginSession, Depends(checked("annotator"))]
_Adjudicator = Annotated[LoginSession, Depends(only("adjudicator", "lead"))]
_AdjudicatorForm = Annotated[LoginSession, Depends(checked("adjudicator", "lead"))]

UNJUDGEABLE = "none"


@router.get("/guide")
def guide(request: Request, session: _Annotator) -> Response:
    """Shows how to judge, and which keys to press."""
    progress = work.progress(project_of(request), session.person.id)
    taxonomy = project_of(request).taxonomy
    return _page(request, session, "guide.html", progress=progress, taxonomy=taxonomy)


@router.get("/work")
def work_page(request: Request, session: _Annotator) -> Response:
    """Shows the current item, or the next one."""
    return _work_page(request, session, work.current(project_of(request), session.person.id))


@router.get("/adjudicate")
def adjudicate(request: Request, session: _Adjudicator) -> Response:
    """Shows the current item to decide, or the next one."""
    case = adjudication.current_case(project_of(request), session.person.id)
    return _case_page(request, session, case)


def _page(
    request: Request,
    session: LoginSession,
    template: str,
    item: Task | Case | None = None,
    **context: Any,
) -> Response:
    if item is not None:
        taxonomy = project_of(request).taxonomy
        context["rubric"] = list(rubric(taxonomy, item.dimension, item.subcomponent))
    context = {"problem": None, "max_rationale": MAX_RATIONALE, **context}
    return render(request, template, session=session, **context)


def _work_page(
    request: Request, session: LoginSession, task: Task | None, **context: Any
) -> Response:
    context["progress"] = work.progress(project_of(request), session.person.id)
    if task is None:
        return _page(request, session, "done.html", **context)
    context = {"rationale": task.rationale, **context}
    return _page(request, session, "work.html", task, task=task, **context)


def _case_page(
    request: Request, session: LoginSession, case: Case | None, **context: Any
) -> Response:
    with project_of(request).database.read() as connection:
        context["waiting"] = adjudication.count_open(connection)
    if case is None:
        return _page(request, session, "adjudicated.html", **context)
    score = "" if case.score is None else str(case.score)
    context = {"score": score, "reason": case.reason, "unjudgeable": UNJUDGEABLE, **context}
    return _page(request, session, "adjudicate.html", case, case=case, **context)


@router.post("/work")
def answer(
    request: Request,
    session: _AnnotatorForm,
    do: FormField = "",
    ticket: FormField = "",
    rationale: FormField = "",
) -> Response:
    """Takes an answer: a score, `skip`, `flag`, or `undo` for the previous one."""
    project, me = project_of(request), session.person.id
    try:
        if do == "undo":
            work.undo(project, me)
            return _go_on(request, session, notice="undone")
        what: Answer = "skip" if do == "skip" else "flag" if do == "flag" else "label"
        score = _parse_score(do) if what == "label" else None
        answered = work.answer(project, me, ticket, what, score=score, rationale=rationale)
    except GoneError as gone:
        return _go_on(request, session, notice=gone.why, unsaved=rationale if do != "undo" else "")
    except UsageError:
        task = work.current(project, me)
        if task is None or task.ticket != ticket:
            return _go_on(request, session, notice="gone", unsaved=rationale)
        return _work_page(
            request, session, task, problem="work.refused", rationale=rationale[:MAX_RATIONALE],
            status_code=422,
        )  # fmt: skip
    if answered.kind == "training":
        return RedirectResponse(f"/work/lesson/{ticket}", 303)
    return _go_on(request, session, task=answered.following)


@router.post("/adjudicate")
def decide(
    request: Request,
    session: _AdjudicatorForm,
    do: FormField = "",
    ticket: FormField = "",
    score: FormField = "",
    reason: FormField = "",
) -> Response:
    """Takes a decision, puts the item aside, or takes back the last decision."""
    project, me = project_of(request), session.person.id
    try:
        if do == "undo":
            adjudication.undo_decision(project, me)
            return _go_on(request, session, "/adjudicate", notice="undone")
        if do == "aside":
            adjudication.put_aside(project, me, ticket)
        else:
            number = None if score == UNJUDGEABLE else _parse_score(score)
            adjudication.decide(project, me, ticket, score=number, reason=reason)
    except GoneError as gone:
        unsaved = reason if do == "decide" else ""
        return _go_on(request, session, "/adjudicate", notice=gone.why, unsaved=unsaved)
    except UsageError:
        case = adjudication.current_case(project, me)
        if case is None or case.ticket != ticket:
            return _go_on(request, session, "/adjudicate", notice="gone", unsaved=reason)
        return _case_page(
            request, session, case, problem="adjudicate.incomplete", score=score[:10],
            reason=reason[:MAX_RATIONALE], status_code=422,
        )  # fmt: skip
    return _go_on(request, session, "/adjudicate")


def _parse_score(text: str) -> int:
    if text.isdecimal() and len(text) < 3:
        return int(text)
    raise UsageError("an answer needs a score")


def _go_on(
    request: Request,
    session: LoginSession,
    path: str = "/work",
    *,
    task: Task | None = None,
    notice: str | None = None,
    unsaved: str = "",
) -> Response:
    """Shows the next item: at once to our own script and beside unsaved text, else by redirect."""
    unsaved = unsaved.strip()[:MAX_RATIONALE]
    if not (request.headers.get("x-flames-page") == "1" or unsaved):
        return RedirectResponse(f"{path}?notice={notice}" if notice else path, 303)
    project, me = project_of(request), session.person.id
    if path == "/adjudicate":
        case = adjudication.current_case(project, me)
        return _case_page(request, session, case, notice=notice, unsaved=unsaved)
    task = task or work.current(project, me)
    return _work_page(request, session, task, notice=notice, unsaved=unsaved)


@router.get("/work/lesson/{ticket}")
def lesson(request: Request, session: _Annotator, ticket: str) -> Response:
    """Shows what an answered training item teaches; any other item leads back to the work."""
    found = work.feedback(project_of(request), session.person.id, ticket)
    if found is None:
        return RedirectResponse("/work", 303)
    return _page(request, session, "lesson.html", found.task, task=found.task, lesson=found)
