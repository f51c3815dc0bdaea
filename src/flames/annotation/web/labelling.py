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
    return _page(request, session, "guide.html", taxonomy=project_of(request).taxonomy)


@router.get("/work")
def work_page(request: Request, session: _Annotator) -> Response:
    """Shows the current item, or the next one."""
    return _work_page(request, session, work.current(project_of(request), session.person.id))


def _page(request: Request, session: LoginSession, template: str, **context: Any) -> Response:
    progress = work.progress(project_of(request), session.person.id)
    return render(
        request, template, session=session, progress=progress, max_rationale=MAX_RATIONALE,
        **context,
    )  # fmt: skip


def _work_page(
    request: Request,
    session: LoginSession,
    task: Task | None,
    rationale: str | None = None,
    **context: Any,
) -> Response:
    if task is None:
        return _page(request, session, "done.html", **context)
    context = {"problem": None, **context}
    return _page(
        request, session, "work.html", task=task, rubric=_rubric(request, task),
        rationale=task.rationale if rationale is None else rationale, **context,
    )  # fmt: skip


def _rubric(request: Request, shown: Task | Case) -> list[Any]:
    return list(rubric(project_of(request).taxonomy, shown.dimension, shown.subcomponent))


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
            return _go_on(request, session, said="undone")
        what, score = _parse_answer(do)
        answered = work.answer(project, me, ticket, what, score=score, rationale=rationale)
    except GoneError as gone:
        return _go_on(request, session, said=gone.why, unsaved=rationale if do != "undo" else "")
    except UsageError:
        task = work.current(project, me)
        if task is None or task.ticket != ticket:
            return _go_on(request, session, said="gone", unsaved=rationale)
        return _work_page(
            request, session, task, rationale[:MAX_RATIONALE], problem="work.refused",
            status_code=422,
        )  # fmt: skip
    if answered.kind == "training":
        return RedirectResponse(f"/work/lesson/{ticket}", 303)
    return _go_on(request, session, task=answered.following)


def _go_on(
    request: Request,
    session: LoginSession,
    *,
    task: Task | None = None,
    said: str | None = None,
    unsaved: str = "",
) -> Response:
    """Shows the next item: at once to our own script and beside unsaved text, else by redirect."""
    unsaved = unsaved.strip()[:MAX_RATIONALE]
    if not (request.headers.get("x-flames-page") == "1" or unsaved):
        return RedirectResponse(f"/work?said={said}" if said else "/work", 303)
    task = task or work.current(project_of(request), session.person.id)
    return _work_page(request, session, task, said=said, unsaved=unsaved)


def _parse_answer(do: str) -> tuple[Answer, int | None]:
    what: Answer = "skip" if do == "skip" else "flag" if do == "flag" else "label"
    return what, _parse_score(do) if what == "label" else None


def _parse_score(text: str) -> int:
    if text.isdecimal() and len(text) < 3:
        return int(text)
    raise UsageError("an answer needs a score")


@router.get("/work/lesson/{ticket}")
def lesson(request: Request, session: _Annotator, ticket: str) -> Response:
    """Shows what an answered training item teaches; any other item leads back to the work."""
    found = work.feedback(project_of(request), session.person.id, ticket)
    if found is None:
        return RedirectResponse("/work", 303)
    return render(
        request, "lesson.html", session=session, lesson=found, task=found.task,
        rubric=_rubric(request, found.task),
    )  # fmt: skip


@router.get("/adjudicate")
def adjudicate(request: Request, session: _Adjudicator) -> Response:
    """Shows the current item to decide, or the next one."""
    case = adjudication.current_case(project_of(request), session.person.id)
    return _case_page(request, session, case)


def _case_page(
    request: Request,
    session: LoginSession,
    case: Case | None,
    *,
    score: str | None = None,
    reason: str | None = None,
    **context: Any,
) -> Response:
    with project_of(request).database.read() as connection:
        waiting = adjudication.count_open(connection)
    if case is None:
        return render(request, "adjudicated.html", session=session, waiting=waiting, **context)
    if score is None:
        score = str(case.score) if case.score is not None else ""
    context = {"problem": None, **context}
    return render(
        request, "adjudicate.html", session=session, case=case, rubric=_rubric(request, case),
        waiting=waiting, score=score, reason=case.reason if reason is None else reason,
        max_rationale=MAX_RATIONALE, unjudgeable=UNJUDGEABLE, **context,
    )  # fmt: skip


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
            return RedirectResponse("/adjudicate?said=undone", 303)
        if do == "aside":
            adjudication.put_aside(project, me, ticket)
        else:
            number = None if score == UNJUDGEABLE else _parse_score(score)
            adjudication.decide(project, me, ticket, score=number, reason=reason)
    except GoneError as gone:
        return _case_gone(request, session, gone.why, reason if do == "decide" else "")
    except UsageError:
        case = adjudication.current_case(project, me)
        if case is None or case.ticket != ticket:
            return _case_gone(request, session, "gone", reason)
        return _case_page(
            request, session, case, problem="adjudicate.incomplete", score=score[:10],
            reason=reason[:MAX_RATIONALE], status_code=422,
        )  # fmt: skip
    return RedirectResponse("/adjudicate", 303)


def _case_gone(request: Request, session: LoginSession, why: str, reason: str) -> Response:
    """Shows the next item, beside a reason that was not saved."""
    unsaved = reason.strip()[:MAX_RATIONALE]
    if not unsaved:
        return RedirectResponse(f"/adjudicate?said={why}", 303)
    case = adjudication.current_case(project_of(request), session.person.id)
    return _case_page(request, session, case, said=why, unsaved=unsaved)
