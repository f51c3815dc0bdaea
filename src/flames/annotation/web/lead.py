"""The leads' pages: dashboard, disagreements, people, downloads."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from flames.annotation import access, adjudication, comments, marks, people
from flames.annotation.aggregate import answers_by_item
from flames.annotation.events import read_events
from flames.annotation.insight import Insight, disagreements, insight, status
from flames.annotation.label_studio import label_studio_config
from flames.annotation.labels_out import export
from flames.annotation.ledger import Item, Ledger, read_items
from flames.annotation.options import (
    FORMATS,
    LABELS,
    ROLES,
    DecisionOptions,
    InviteOptions,
    LinkOptions,
)
from flames.annotation.project import Project
from flames.annotation.tables import part_labels
from flames.annotation.tasks import MAX_RATIONALE, UNJUDGEABLE, part_of, rubric
from flames.annotation.web.render import language
from flames.annotation.web.session import FormField, Visit, checked, only
from flames.errors import UsageError

router = APIRouter()

_Reader = Annotated[Visit, Depends(only("lead"))]
_Sender = Annotated[Visit, Depends(checked("lead"))]

_PAGE = 50
_RESAMPLES = 500
_PATIENCE_SECONDS = 0.3
_FILES = {
    "jsonl": ("jsonl", "application/x-ndjson"),
    "csv": ("csv", "text/csv"),
    "label-studio": ("json", "application/json"),
}


class Watch:
    """The data of the dashboard, kept between requests: each event is read only once.

    Agreement is computed in the background: with many people it takes longer than anybody should
    wait for a page, who gets the last one, or none the first time, after `patience` seconds.
    """

    def __init__(self, project: Project, patience: float = _PATIENCE_SECONDS) -> None:
        self.project = project
        self.patience = patience
        self._ledger = Ledger()
        self._items: dict[int, Item] = {}
        self._reading = threading.Lock()
        self._insight: Insight | None = None
        self._computing: Future[Insight] | None = None
        self._starting = threading.Lock()

    def ledger(self) -> tuple[Ledger, dict[int, Item], int]:
        """Returns the present state, all items, and how many wait for an adjudicator."""
        with self._reading, self.project.database.read() as connection:
            known = len(self._ledger.additions)
            self._ledger.apply(read_events(connection, after=self._ledger.head.seq))
            if not self._items or len(self._ledger.additions) > known:
                self._items = read_items(connection)
            return self._ledger.copy(), self._items, adjudication.count_open(connection)

    def insight(self, ledger: Ledger, items: dict[int, Item]) -> Insight | None:
        """Returns agreement, as fresh as possible without making the reader wait."""
        with self._starting:
            have = self._insight
            if have is not None and have.seq >= ledger.head.seq:
                return have
            future = self._computing
            if future is None or future.done():
                future = self._computing = Future()
                threading.Thread(
                    target=self._compute, args=(future, ledger, items), daemon=True
                ).start()
        try:
            return future.result(self.patience)
        except TimeoutError:
            return self._insight

    def _compute(self, future: Future[Insight], ledger: Ledger, items: dict[int, Item]) -> None:
        try:
            found = insight(
                ledger, items, self.project.taxonomy, resamples=_RESAMPLES, everywhere=False
            )
        except BaseException as error:
            future.set_exception(error)
        else:
            self._insight = found
            future.set_result(found)


@router.get("/lead")
def dashboard(visit: _Reader) -> Response:
    """Shows progress, speed, agreement and people."""
    watch: Watch = visit.request.app.state.watch
    ledger, items, disputed = watch.ledger()
    state = status(watch.project, ledger, items, disputed)
    found = watch.insight(ledger, items)
    taxonomy = watch.project.taxonomy
    return visit.page(
        "lead.html", state=state, insight=found, taxonomy=taxonomy,
        raters={r.rater: r for r in found.agreement.overall.raters} if found else {},
        part_labels=part_labels(taxonomy),
        whats=LABELS,
    )  # fmt: skip


@router.get("/lead/disagreements")
def disagreements_page(
    visit: _Reader, page: int = 1, dimension: str = "", state: str = "", person: str = ""
) -> Response:
    """Shows the items on which people disagree: all, or of a dimension, a state and a person."""
    watch: Watch = visit.request.app.state.watch
    ledger, items, _ = watch.ledger()
    every = disagreements(ledger, items)
    found = [
        each
        for each in every
        if dimension in ("", each.item.dimension)
        and state in ("", "open" if each.decision is None else "decided")
        and person in ("", *(ledger.people[given.person].name for given in each.answers))
    ]
    chosen = {"dimension": dimension, "state": state, "person": person}
    pages = max(1, -(-len(found) // _PAGE))
    page = min(max(page, 1), pages)
    return visit.page(
        "disagreements.html", total=len(found), page=page, pages=pages,
        rows=found[(page - 1) * _PAGE : page * _PAGE], people=ledger.people,
        any=bool(every), chosen=chosen, query=urlencode({k: v for k, v in chosen.items() if v}),
        raters=sorted({ledger.people[given.person].name for d in every for given in d.answers}),
        dimensions={d.name: d for d in visit.project.taxonomy.dimensions},
    )  # fmt: skip


@router.get("/lead/item/{ref}")
def item_page(visit: _Reader, ref: str) -> Response:
    """Shows one item with all answers to it, with names."""
    return _item_page(visit, ref)


def _item_page(visit: Visit, ref: str, **context: Any) -> Response:
    watch: Watch = visit.request.app.state.watch
    ledger, items, _ = watch.ledger()
    item = next((each for each in items.values() if each.ref == ref), None)
    if item is None:
        raise HTTPException(404)
    taxonomy = visit.project.taxonomy
    dimension = taxonomy.dimension(item.dimension)
    part = part_of(dimension, item.subcomponent)
    with visit.project.database.look() as connection:
        waits = adjudication.waits(connection, item.id)
    notes = comments.read_comments(visit.project, visit.session.person, ref)
    context = {"problem": None, "score": "", "reason": "", **context}
    return visit.page(
        "item.html", waits=waits, notes=notes, unjudgeable=UNJUDGEABLE, max_rationale=MAX_RATIONALE,
        **context, item=item, dimension=dimension, part=part,
        answers=answers_by_item(ledger).get(item.id, []), people=ledger.people,
        decision=ledger.decisions.get(item.id),
        rubric=list(rubric(taxonomy, dimension, part)),
    )  # fmt: skip


@router.post("/lead/item/{ref}")
def decide_item(
    visit: _Sender, ref: str, score: FormField = "", reason: FormField = ""
) -> Response:
    """Decides an item from its page."""
    me = visit.session.person.name
    try:
        adjudication.decide_item(visit.project, DecisionOptions(me, ref, score, reason))
    except UsageError:
        shown = {"score": score[:10], "reason": reason[:MAX_RATIONALE]}
        return _item_page(visit, ref, status_code=422, problem="item.refused", **shown)
    return RedirectResponse(f"/lead/item/{ref}", 303)


@router.get("/lead/people")
def people_page(visit: _Reader) -> Response:
    """Shows who takes part."""
    return _people_page(visit)


def _people_page(visit: Visit, **context: Any) -> Response:
    context = {"error": None, "link": None, "link_of": None, "asked": None, **context}
    everybody = people.list_people(visit.project)
    return visit.page("people.html", everybody=everybody, roles=ROLES, **context)


@router.post("/lead/people")
def change_people(
    visit: _Sender,
    do: FormField = "",
    name: FormField = "",
    role: FormField = "annotator",
    sure: FormField = "",
) -> Response:
    """Adds a person, renews their link, lets them in or keeps them out.

    What signs somebody out asks back first.
    """
    project, request = visit.project, visit.request
    base = request.app.state.public_url or str(request.base_url)
    wanted: Any = role  # InviteOptions checks it
    try:
        if do == "add":
            link = access.invite(project, name, InviteOptions(base, role=wanted))
        elif people.person_key(name.strip()) == people.person_key(visit.session.person.name):
            raise UsageError("leads cannot lock themselves out")
        elif do == "release":
            marks.release(project, name, visit.session.person.name)
            return RedirectResponse("/lead/people", 303)
        elif do in ("link", "stop") and sure != "yes":
            with project.database.read() as connection:
                found = people.get_person(connection, name)
            return _people_page(visit, asked=do, asked_of=found.name)
        elif do == "link":
            link = access.renew_link(project, name, LinkOptions(base))
        else:
            if do in ("stop", "resume"):
                people.admit(project, name, do == "resume")
            return RedirectResponse("/lead/people", 303)
    except UsageError as error:
        return _people_page(visit, status_code=422, error=str(error))
    return _people_page(visit, link=link, link_of=name)


@router.get("/lead/export")
def download(visit: _Reader, what: str = "all", form: str = "jsonl") -> Response:
    """Returns labels as a file."""
    if what not in LABELS or form not in FORMATS:
        raise HTTPException(404)
    made = export(visit.project, what, form)
    suffix, kind = _FILES[form]
    response = _file(made.text, f"labels-{what}.{suffix}", kind)
    response.headers["X-Flames-Event"] = str(made.seq)
    return response


@router.get("/lead/label-studio.xml")
def config(visit: _Reader) -> Response:
    """Returns the labelling config for Label Studio."""
    text = label_studio_config(language(visit.request, visit.session))
    return _file(text, "label-studio.xml", "application/xml")


def _file(text: str, name: str, kind: str) -> Response:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8"), media_type=kind, headers=disposition)
