"""The annotators' pages: guide, one item after the other, lessons of the training round."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import work as _work
from flames.annotation.people import LoginSession
from flames.annotation.tasks import MAX_RATIONALE, Answer, GoneError, Task
from flames.annotation.web.guard import checked, only, project_of, wants_page
from flames.annotation.web.render import render
from flames.errors import UsageError
from flames.taxonomy import Dimension, Subcomponent, Taxonomy

router = APIRouter()

_Reader = Annotated[LoginSession, Depends(only("annotator"))]
_Sender = Annotated[LoginSession, Depends(checked("annotator"))]


def rubric(
    taxonomy: Taxonomy, dimension: Dimension, part: Subcomponent | None
) -> list[dict[str, Any]]:
    """What each score of an item's scale is called and means, best first."""
    levels = {level.score: level for level in taxonomy.levels}
    rows: list[dict[str, Any]] = []
    for score in dimension.scale:
        level = levels.get(score)
        rule = part.rubric.get(score) if part is not None else None
        rows.append(
            {
                "score": score,
                "name": level.name if level else None,
                "rule": rule or (level.definition if level else None),
            }
        )
    return rows


@router.get("/guide")
def guide(request: Request, session: _Reader) -> Response:
    """How to judge, and which keys to press."""
    project = project_of(request)
    progress = _work.progress(project, session.person.id)
    return render(
        request, "guide.html", session=session, progress=progress,
        taxonomy=project.taxonomy, max_rationale=MAX_RATIONALE,
    )  # fmt: skip


@router.get("/work")
def work(request: Request, session: _Reader) -> Response:
    """The item in hand, or the next one."""
    return _next(request, session, _work.current(project_of(request), session.person.id))


def _next(request: Request, session: LoginSession, task: Task | None, **told: Any) -> Response:
    progress = _work.progress(project_of(request), session.person.id)
    if task is None:
        return render(request, "done.html", session=session, progress=progress, **told)
    return _item_page(request, session, task, progress, **told)


def _item_page(
    request: Request,
    session: LoginSession,
    task: Task,
    progress: _work.Progress,
    *,
    problem: str | None = None,
    rationale: str | None = None,
    status: int = 200,
    **told: Any,
) -> Response:
    taxonomy = project_of(request).taxonomy
    return render(
        request, "work.html", session=session, status_code=status, task=task, progress=progress,
        rubric=rubric(taxonomy, task.dimension, task.subcomponent), problem=problem,
        rationale=task.rationale if rationale is None else rationale,
        max_rationale=MAX_RATIONALE, **told,
    )  # fmt: skip


@router.post("/work")
def answer(
    request: Request,
    session: _Sender,
    do: Annotated[str, Form()] = "",
    ticket: Annotated[str, Form()] = "",
    rationale: Annotated[str, Form()] = "",
) -> Response:
    """Takes an answer: a score, `skip`, `flag`, or `undo` for the one before."""
    project, me = project_of(request), session.person.id
    try:
        if do == "undo":
            _work.undo(project, me)
            return _go_on(request, session, said="undone")
        what, score = _read(do)
        answered = _work.answer(project, me, ticket, what, score=score, rationale=rationale)
    except GoneError as gone:
        return _go_on(request, session, said=gone.why, unsaved=rationale if do != "undo" else "")
    except UsageError:
        task = _work.current(project, me)
        if task is None or task.ticket != ticket:
            return _go_on(request, session, said="gone", unsaved=rationale)
        return _item_page(
            request, session, task, _work.progress(project, me),
            problem="work.refused", rationale=rationale[: MAX_RATIONALE], status=422,
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
    """The next item: at once for our own script and beside text that was not saved, else by a
    redirect."""
    unsaved = unsaved.strip()[:MAX_RATIONALE]
    if not (wants_page(request) or unsaved):
        return RedirectResponse(f"/work?said={said}" if said else "/work", 303)
    task = task or _work.current(project_of(request), session.person.id)
    return _next(request, session, task, said=said, unsaved=unsaved)


def _read(do: str) -> tuple[Answer, int | None]:
    if do == "skip":
        return "skip", None
    if do == "flag":
        return "flag", None
    if do.isdecimal() and len(do) < 3:
        return "label", int(do)
    raise UsageError("an answer is a score, skip or flag")


@router.get("/work/lesson/{ticket}")
def lesson(request: Request, session: _Reader, ticket: str) -> Response:
    """What an answered training item teaches. Other people's, and real items, are not found."""
    project = project_of(request)
    found = _work.feedback(project, session.person.id, ticket)
    if found is None:
        return RedirectResponse("/work", 303)
    return render(
        request, "lesson.html", session=session, lesson=found, task=found.task,
        rubric=rubric(project.taxonomy, found.task.dimension, found.task.subcomponent),
    )  # fmt: skip
