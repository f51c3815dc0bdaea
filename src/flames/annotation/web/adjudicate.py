"""The adjudicators' page: items that people differ on, without their names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import adjudication
from flames.annotation.adjudication import Case
from flames.annotation.people import LoginSession
from flames.annotation.tasks import MAX_RATIONALE, GoneError
from flames.annotation.web.guard import checked, only, project_of
from flames.annotation.web.render import render
from flames.annotation.web.work import rubric
from flames.errors import UsageError

router = APIRouter()

_Reader = Annotated[LoginSession, Depends(only("adjudicator", "lead"))]
_Sender = Annotated[LoginSession, Depends(checked("adjudicator", "lead"))]

UNJUDGEABLE = "none"


@router.get("/adjudicate")
def adjudicate(request: Request, session: _Reader) -> Response:
    """The item in hand, or the next one."""
    case = adjudication.current_case(project_of(request), session.person.id)
    return _page(request, session, case)


def _page(
    request: Request,
    session: LoginSession,
    case: Case | None,
    *,
    problem: str | None = None,
    score: str | None = None,
    reason: str | None = None,
    status: int = 200,
    **told: Any,
) -> Response:
    project = project_of(request)
    with project.database.read() as connection:
        waiting = adjudication.count_open(connection)
    if case is None:
        return render(request, "adjudicated.html", session=session, waiting=waiting, **told)
    if score is None:
        score = str(case.score) if case.score is not None else ""
    return render(
        request, "adjudicate.html", session=session, status_code=status, case=case,
        rubric=rubric(project.taxonomy, case.dimension, case.subcomponent), waiting=waiting,
        problem=problem, score=score, reason=case.reason if reason is None else reason,
        max_rationale=MAX_RATIONALE, unjudgeable=UNJUDGEABLE, **told,
    )  # fmt: skip


@router.post("/adjudicate")
def decide(
    request: Request,
    session: _Sender,
    do: Annotated[str, Form()] = "",
    ticket: Annotated[str, Form()] = "",
    score: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Takes a decision, puts the item aside, or takes the last decision back."""
    project, me = project_of(request), session.person.id
    try:
        if do == "undo":
            adjudication.undo_decision(project, me)
            return RedirectResponse("/adjudicate?said=undone", 303)
        if do == "aside":
            adjudication.put_aside(project, me, ticket)
        elif score == UNJUDGEABLE:
            adjudication.decide(project, me, ticket, score=None, reason=reason)
        elif score.isdecimal() and len(score) < 3:
            adjudication.decide(project, me, ticket, score=int(score), reason=reason)
        else:
            raise UsageError("a decision needs a score")
    except GoneError as gone:
        return _gone(request, session, gone.why, reason if do == "decide" else "")
    except UsageError:
        case = adjudication.current_case(project, me)
        if case is None or case.ticket != ticket:
            return _gone(request, session, "gone", reason)
        return _page(
            request, session, case, problem="adjudicate.incomplete", score=score[:10],
            reason=reason[:MAX_RATIONALE], status=422,
        )  # fmt: skip
    return RedirectResponse("/adjudicate", 303)


def _gone(request: Request, session: LoginSession, why: str, reason: str) -> Response:
    """The next item, beside a reason that was not saved."""
    unsaved = reason.strip()[:MAX_RATIONALE]
    if not unsaved:
        return RedirectResponse(f"/adjudicate?said={why}", 303)
    case = adjudication.current_case(project_of(request), session.person.id)
    return _page(request, session, case, said=why, unsaved=unsaved)
