"""What leads decide on their pages: the guideline, batches, quotas, rules; and all comments."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.responses import RedirectResponse, Response

from flames.annotation import batches, comments, people, rules, suggestions, work
from flames.annotation.lead_options import BatchOptions
from flames.annotation.rules import MAX_GUIDELINE
from flames.annotation.web.session import FormField, Visit, checked, only
from flames.errors import FlamesError, UsageError

router = APIRouter()

_Reader = Annotated[Visit, Depends(only("lead"))]
_Sender = Annotated[Visit, Depends(checked("lead"))]
_Talker = Annotated[Visit, Depends(only("annotator", "lead"))]
_TalkerForm = Annotated[Visit, Depends(checked("annotator", "lead"))]


@router.get("/lead/guideline")
def guideline(visit: _Reader, version: int = 0) -> Response:
    """Shows the guideline with a form for the next version, made from an old one if wished."""
    return _guideline_page(visit, version)


def _guideline_page(visit: Visit, version: int = 0, **context: Any) -> Response:
    versions = rules.read_guidelines(visit.project)
    base = next((each for each in versions if each.version == version), None)
    base = base or (versions[0] if versions else None)
    texts = {"zh": base.zh if base else "", "en": base.en if base else ""}
    context = {"error": None, **texts, **context}
    return visit.page(
        "guideline.html", versions=versions, base=base, most=MAX_GUIDELINE,
        everybody=people.list_people(visit.project), **context,
    )  # fmt: skip


@router.post("/lead/guideline")
def publish(
    visit: _Sender, zh: FormField = "", en: FormField = "", after: Annotated[int, Form()] = 0
) -> Response:
    """Publishes a new version."""
    me = visit.session.person.name
    try:
        rules.publish_guideline(visit.project, zh, en, me, after=after)
    except UsageError as error:
        return _guideline_page(visit, status_code=422, error=str(error), zh=zh, en=en)
    return RedirectResponse("/lead/guideline", 303)


@router.get("/lead/plan")
def plan(visit: _Reader) -> Response:
    """Shows batches, quotas, and what holds for everybody."""
    return _plan_page(visit)


def _plan_page(visit: Visit, **context: Any) -> Response:
    with visit.project.database.read() as connection:
        held = rules.read_rules(connection)
    everybody = people.list_people(visit.project)
    return visit.page(
        "plan.html", batches=batches.list_batches(visit.project), rules=held,
        annotators=[each for each in everybody if each.role == "annotator"],
        dimensions=visit.project.taxonomy.dimensions, **{"error": None, **context},
    )  # fmt: skip


@router.post("/lead/plan")
def change_plan(
    visit: _Sender,
    do: FormField = "",
    name: FormField = "",
    who: Annotated[list[str] | None, Form()] = None,
    dimension: FormField = "",
    count: FormField = "",
    quota: FormField = "",
    reason: FormField = "",
) -> Response:
    """Assigns a batch or takes it back, sets a quota, changes the rules."""
    project, me = visit.project, visit.session.person.name
    try:
        if do == "assign":
            number = _number(count)
            choice = BatchOptions(
                me, people=tuple(who or ()), dimension=dimension or None, count=number
            )
            batches.assign_batch(project, name, choice, me)
        elif do == "free":
            batches.assign_batch(project, name, BatchOptions(me, free=True), me)
        elif do == "quota":
            people.set_quota(project, name, _number(quota, least=0), me)
        elif do == "rules":
            rules.set_flag_reason(project, reason == "yes", me)
        elif do == "hide":
            suggestions.hide_suggestions(project, me)
    except FlamesError as error:
        return _plan_page(visit, status_code=422, error=str(error))
    return RedirectResponse("/lead/plan", 303)


def _number(text: str, least: int = 1) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > 8 or int(text) < least:
        raise UsageError(f"a number of at least {least} is needed, not {text[:20]!r}")
    return int(text)


@router.get("/comments")
def comments_page(visit: _Talker, item: str = "") -> Response:
    """Shows the comments that the reader may read, and a form for one on an item."""
    return _comments_page(visit, item)


def _comments_page(visit: Visit, item: str = "", **context: Any) -> Response:
    person = visit.session.person
    if item == "current":  # the page of an item does not name it
        task = work.current(visit.project, visit.me) if person.role == "annotator" else None
        item = task.ref if task else ""
    found = comments.read_comments(visit.project, person)
    threads: dict[str, list[comments.Comment]] = {}
    for each in found:
        threads.setdefault(each.item, []).append(each)
    newest = sorted(threads.values(), key=lambda thread: -thread[-1].number)
    context = {"error": None, "text": "", **context}
    return visit.page("comments.html", threads=newest, item=item[:20], **context)


@router.post("/comments")
def send_comment(
    visit: _TalkerForm,
    item: FormField = "",
    text: FormField = "",
    to: FormField = "",
    withdraw: FormField = "",
    back: FormField = "",
) -> Response:
    """Stores a comment, or takes one back."""
    me = visit.session.person
    try:
        if withdraw:
            comments.withdraw(visit.project, me.name, _number(withdraw) or 0)
        else:
            comments.comment(visit.project, me.name, item, text, to or None)
    except UsageError as error:
        return _comments_page(visit, item, status_code=422, error=str(error), text=text[:4000])
    if back == "item" and me.role == "lead" and item.isalnum():
        return RedirectResponse(f"/lead/item/{item}", 303)
    return RedirectResponse("/comments", 303)
