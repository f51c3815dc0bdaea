"""The JSON interface for programs: what the pages do, by a person's token, under the same rules.

Described in OpenAPI at `/api/openapi.json`, from this module.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from flames.annotation import access, adjudication, people, work
from flames.annotation.aggregate import answers_by_item
from flames.annotation.insight import Status, status
from flames.annotation.labels_out import export
from flames.annotation.ledger import Item, Ledger
from flames.annotation.options import Format, InviteOptions, Labels, Role
from flames.annotation.people import Person
from flames.annotation.progress import read_progress
from flames.annotation.tasks import Answer, GoneError, Pace, Shown, Task, TooSoonError, rubric
from flames.annotation.web import lead_api
from flames.annotation.web.callers import AnnotatorCall, AnyoneCall, LeadCall
from flames.annotation.web.session import Visit
from flames.errors import FlamesError, OutsideError
from flames.records import Frozen
from flames.turns import Turn

router = APIRouter()

_MOST = 500
_TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv", "label-studio": "application/json"}


class Me(Frozen):
    """A participant."""

    name: str
    role: Role
    active: bool
    held: str | None


class Rule(Frozen):
    """A score of an item's scale and, in Chinese and English, what deserves it."""

    score: int
    zh: str | None
    en: str | None


class OpenItem(Frozen):
    """An item in an annotator's hands: the `ticket` answers it. The model is hidden.

    `suggestion` is a scorer's score, where the lead has it shown.
    """

    ticket: str
    item: str
    dimension: str
    subcomponent: str | None
    history: tuple[Turn, ...] | None
    system: str | None
    prompt: str | None
    response: str | None
    rubric: tuple[Rule, ...]
    rationale: str
    suggestion: int | None


class Work(Frozen):
    """The next item, None if there is none, and how far its annotator is.

    There is none either while the present `guideline` is `unread`.
    """

    item: OpenItem | None
    done: int
    held: bool
    guideline: int
    unread: bool


class GivenAnswer(Frozen):
    """An answer to an item; only a `label` has a score.

    `guideline` is the version that was followed, the present one by default.
    """

    ticket: str
    answer: Answer = "label"
    score: int | None = None
    rationale: str = ""
    guideline: int | None = None


class Label(Frozen):
    """Somebody's answer."""

    annotator: str
    answer: str
    score: int | None
    rationale: str | None
    at: str
    guideline: int | None
    suggested: int | None


class LeadItem(Frozen):
    """An item as leads see it."""

    item: str
    kind: str
    dimension: str
    subcomponent: str | None
    model: str
    history: tuple[Turn, ...] | None
    system: str | None
    prompt: str | None
    response: str | None
    inclusion_probability: float | None
    labels: tuple[Label, ...]
    decision: int | None
    decided: bool


class Items(Frozen):
    """A part of the items, in the order of the draw; `total` counts all."""

    total: int
    items: tuple[LeadItem, ...]


class NewPerson(Frozen):
    """Somebody who is to take part."""

    name: str
    role: Role = "annotator"


class Invited(Frozen):
    """The personal link of a new person, shown only now."""

    name: str
    link: str


def _person(person: Person) -> Me:
    return Me(name=person.name, role=person.role, active=person.active, held=person.held)


@router.get("/me")
def me(visit: AnyoneCall) -> Me:
    """Returns whose token it is."""
    return _person(visit.session.person)


@router.get("/work")
def get_work(visit: AnnotatorCall) -> Work:
    """Returns the annotator's current item, or the next one, which is then theirs for a while."""
    return _work(visit)


@router.post("/work")
def post_work(visit: AnnotatorCall, given: GivenAnswer) -> Work:
    """Stores an answer and returns the next item; the same answer twice counts once."""
    state = visit.request.app.state
    answered = work.answer(
        visit.project, visit.me, given.ticket, given.answer, score=given.score,
        rationale=given.rationale, pace=Pace(state.settle, None, state.min_seconds),
        shown=Shown(given.guideline),
    )  # fmt: skip
    return _work(visit, answered.following)


@router.post("/work/undo")
def undo_work(visit: AnnotatorCall) -> Work:
    """Takes back the last answer and returns its item."""
    state = visit.request.app.state
    work.undo(visit.project, visit.me, Pace(state.settle, None, state.min_seconds))
    return _work(visit)


def _work(visit: Visit, task: Task | None = None) -> Work:
    with visit.project.database.look() as connection:
        held = people.is_held(connection, visit.me)
    unread = visit.session.guideline > visit.session.person.guideline
    if not unread:
        task = task or work.current(visit.project, visit.me)
    return Work(
        item=None if task is None or unread else _open_item(visit, task),
        done=read_progress(visit.project, visit.me).done,
        held=held,
        guideline=visit.session.guideline,
        unread=unread,
    )


def _open_item(visit: Visit, task: Task) -> OpenItem:
    rows = rubric(visit.project.taxonomy, task.dimension, task.subcomponent)
    return OpenItem(
        ticket=task.ticket,
        item=task.ref,
        dimension=task.dimension.name,
        subcomponent=None if task.subcomponent is None else task.subcomponent.name,
        history=task.response.history,
        system=task.response.system,
        prompt=task.response.prompt,
        response=task.response.response,
        rubric=tuple(
            Rule(
                score=row.score, zh=row.rule.zh if row.rule else None,
                en=row.rule.en if row.rule else None,
            )
            for row in rows
        ),
        rationale=task.rationale,
        suggestion=task.suggestion,
    )  # fmt: skip


@router.get("/status")
def get_status(visit: LeadCall) -> Status:
    """Returns progress, and how each person is doing."""
    ledger, items, disputed = visit.request.app.state.watch.ledger()
    return status(visit.project, ledger, items, disputed)


@router.get("/items")
def get_items(
    visit: LeadCall,
    kind: Literal["work", "control", "training"] = "work",
    start: int = 0,
    count: int = 100,
) -> Items:
    """Returns items with all answers to them, at most 500 at a time."""
    ledger, items, _ = visit.request.app.state.watch.ledger()
    chosen = [item for item in items.values() if item.kind == kind]
    start, count = max(start, 0), min(max(count, 0), _MOST)
    answers = answers_by_item(ledger)
    part = tuple(_lead_item(item, ledger, answers) for item in chosen[start : start + count])
    return Items(total=len(chosen), items=part)


@router.get("/items/{ref}")
def get_item(visit: LeadCall, ref: str) -> LeadItem:
    """Returns one item with all answers to it."""
    ledger, items, _ = visit.request.app.state.watch.ledger()
    item = next((each for each in items.values() if each.ref == ref), None)
    if item is None:
        raise HTTPException(404, "there is no such item")
    return _lead_item(item, ledger, answers_by_item(ledger))


def _lead_item(item: Item, ledger: Ledger, answers: dict[int, Any]) -> LeadItem:
    decision = ledger.decisions.get(item.id)
    return LeadItem(
        item=item.ref,
        kind=item.kind,
        dimension=item.dimension,
        subcomponent=item.subcomponent,
        model=item.response.model,
        history=item.response.history,
        system=item.response.system,
        prompt=item.response.prompt,
        response=item.response.response,
        inclusion_probability=item.inclusion_probability,
        labels=tuple(
            Label(
                annotator=ledger.people[given.person].name, answer=given.answer,
                score=given.score, rationale=given.rationale, at=given.labelled_at or given.at,
                guideline=given.guideline, suggested=given.suggested,
            )
            for given in answers.get(item.id, [])
        ),
        decision=None if decision is None else decision.score,
        decided=decision is not None,
    )  # fmt: skip


@router.get("/labels", response_class=Response)
def get_labels(
    visit: LeadCall, what: Labels = "all", form: Format = "jsonl", until: str | None = None
) -> Response:
    """Returns labels as a file, as `flames annotate export` does."""
    made = export(visit.project, what, form, until)
    headers = {"X-Flames-Event": str(made.seq)}
    return Response(made.text.encode("utf-8"), media_type=_TYPES[form], headers=headers)


@router.get("/people")
def get_people(visit: LeadCall) -> list[Me]:
    """Returns everybody who takes part."""
    return [_person(person) for person in people.list_people(visit.project)]


@router.post("/people", status_code=201)
def post_people(visit: LeadCall, given: NewPerson) -> Invited:
    """Adds a person and returns their personal link."""
    url = visit.request.app.state.public_url
    link = access.invite(visit.project, given.name, InviteOptions(url, role=given.role))
    return Invited(name=given.name, link=link)


@router.get("/decisions/open")
def get_open(visit: LeadCall) -> list[dict[str, Any]]:
    """Returns the items that wait for an adjudicator."""
    return [case.to_dict() for case in adjudication.open_cases(visit.project)]


def build_api(state: Any) -> FastAPI:
    """Builds the interface, with the state of the application that it belongs to."""
    api = FastAPI(
        title="Flames annotation", version="1", docs_url=None, redoc_url=None,
        redirect_slashes=False, root_path_in_servers=False, servers=[{"url": f"{state.root}/api"}],
    )  # fmt: skip
    api.state = state
    api.include_router(router)
    api.include_router(lead_api.router)
    for kind in (HTTPException, RequestValidationError, FlamesError):
        api.add_exception_handler(kind, _failed)
    return api


async def _failed(_: Request, error: Exception) -> Response:
    headers = None
    match error:
        case HTTPException(status_code=code, detail=why):
            headers = {"WWW-Authenticate": "Bearer"} if code == 401 else None
        case GoneError() | TooSoonError():
            code, why = 409, str(error)
        case OutsideError():
            code, why = 503, "the database failed; try again"
        case RequestValidationError():
            first = error.errors()[0]
            code, why = 422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        case _:
            code, why = 422, str(error)
    return JSONResponse({"error": why}, code, headers)
