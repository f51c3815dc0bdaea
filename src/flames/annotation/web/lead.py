"""The leads' pages: dashboard, disagreements, people, downloads."""

from __future__ import annotations

import threading
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import adjudication, events, people
from flames.annotation.aggregate import answers_by_item
from flames.annotation.insight import Insight, disagreements, insight, status, voices_on
from flames.annotation.label_studio import label_studio_config
from flames.annotation.labels_out import export
from flames.annotation.ledger import Item, Ledger, read_items
from flames.annotation.options import FORMATS, LABELS, ROLES, Format, Labels
from flames.annotation.people import LoginSession
from flames.annotation.project import Project
from flames.annotation.tasks import part_of
from flames.annotation.web.guard import Forbidden, checked, only, project_of
from flames.annotation.web.render import bars, dots, language, render
from flames.annotation.web.work import rubric
from flames.errors import UsageError

router = APIRouter()

_Reader = Annotated[LoginSession, Depends(only("lead"))]
_Sender = Annotated[LoginSession, Depends(checked("lead"))]

_PAGE = 50
_RESAMPLES = 500
_PATIENCE_SECONDS = 1.0
_KINDS = {"jsonl": "application/x-ndjson", "csv": "text/csv", "label-studio": "application/json"}
_SUFFIX = {"jsonl": "jsonl", "csv": "csv", "label-studio": "json"}


class Watch:
    """What the dashboard shows, kept between requests: events are only ever read once.

    Agreement with its intervals takes seconds for a large team. It is computed on the spot while
    that is quick, and in the background once it was not; the page then says how old it is.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._ledger = Ledger()
        self._items: dict[int, Item] = {}
        self._reading = threading.Lock()
        self._insight: Insight | None = None
        self._took = 0.0
        self._computing = threading.Lock()

    def ledger(self) -> tuple[Ledger, dict[int, Item], int]:
        """The present state, all items, and how many wait for an adjudicator."""
        with self._reading, self.project.database.read() as connection:
            if not self._items:
                self._items = read_items(connection)
            self._ledger.apply(events.read(connection, after=self._ledger.head.seq))
            return self._ledger.copy(), self._items, adjudication.count_open(connection)

    def insight(self, ledger: Ledger, items: dict[int, Item]) -> Insight:
        """Agreement, as fresh as can be had without making the reader wait."""
        have = self._insight
        if have is not None and have.seq == ledger.head.seq:
            return have
        if have is None or self._took < _PATIENCE_SECONDS:
            with self._computing:
                return self._compute(ledger, items)
        if self._computing.acquire(blocking=False):
            threading.Thread(target=self._later, args=(ledger, items), daemon=True).start()
        return have

    def _compute(self, ledger: Ledger, items: dict[int, Item]) -> Insight:
        begun = time.monotonic()
        found = insight(ledger, items, self.project.taxonomy, resamples=_RESAMPLES)
        self._took = time.monotonic() - begun
        self._insight = found
        return found

    def _later(self, ledger: Ledger, items: dict[int, Item]) -> None:
        try:
            self._compute(ledger, items)
        finally:
            self._computing.release()


def _watch(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


@router.get("/lead")
def dashboard(request: Request, session: _Reader) -> Response:
    """Progress, speed, agreement, people."""
    watch = _watch(request)
    ledger, items, disputed = watch.ledger()
    state = status(watch.project, ledger, items, disputed)
    found = watch.insight(ledger, items)
    taxonomy = watch.project.taxonomy
    return render(
        request, "lead.html", session=session, state=state, insight=found,
        taxonomy=taxonomy, people={person.name: person for person in state.people},
        raters={rater.rater: rater for rater in found.agreement.overall.raters},
        part_labels={p.name: p.label for d in taxonomy.dimensions for p in d.subcomponents},
        answers_chart=bars([(each.start, each.answers) for each in found.over_time]),
        agreement_chart=dots([
            (each.start, each.agreement.percent if each.agreement else None)
            for each in found.over_time
        ]),
        whats=LABELS, forms=FORMATS,
    )  # fmt: skip


@router.get("/lead/disagreements")
def differing(request: Request, session: _Reader, page: int = 1) -> Response:
    """Items on which people differ."""
    ledger, items, _ = _watch(request).ledger()
    found = disagreements(ledger, items)
    pages = max(1, -(-len(found) // _PAGE))
    page = min(max(page, 1), pages)
    return render(
        request, "disagreements.html", session=session, total=len(found), page=page, pages=pages,
        rows=found[(page - 1) * _PAGE : page * _PAGE],
        dimensions={d.name: d for d in project_of(request).taxonomy.dimensions},
    )  # fmt: skip


@router.get("/lead/item/{ref}")
def item(request: Request, session: _Reader, ref: str) -> Response:
    """One item with everything that was said of it, and by whom."""
    ledger, items, _ = _watch(request).ledger()
    found = next((each for each in items.values() if each.ref == ref), None)
    if found is None:
        raise Forbidden("forbidden.missing")
    taxonomy = project_of(request).taxonomy
    dimension = taxonomy.dimension(found.dimension)
    part = part_of(dimension, found.subcomponent)
    return render(
        request, "item.html", session=session, item=found, dimension=dimension, part=part,
        voices=voices_on(found, answers_by_item(ledger).get(found.id, []), ledger),
        rubric=rubric(taxonomy, dimension, part),
    )  # fmt: skip


@router.get("/lead/people")
def people_page(request: Request, session: _Reader) -> Response:
    """Who takes part."""
    return _people_page(request, session)


def _people_page(
    request: Request, session: LoginSession, *, status_code: int = 200, **context: Any
) -> Response:
    project = project_of(request)
    with project.database.read() as connection:
        everybody = people.all_people(connection)
    context = {"error": None, "link": None, "link_of": None, **context}
    return render(
        request, "people.html", session=session, status_code=status_code, everybody=everybody,
        roles=ROLES, **context,
    )  # fmt: skip


@router.post("/lead/people")
def change_people(
    request: Request,
    session: _Sender,
    do: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    role: Annotated[str, Form()] = "annotator",
) -> Response:
    """Adds somebody, renews a link, lets somebody in or keeps them out."""
    project = project_of(request)
    token = None
    try:
        with project.database.write() as connection:
            if do == "add":
                wanted: Any = role
                person = people.add_person(connection, project, name, wanted)
                token = people.new_link(connection, project, person)
            else:
                person = people.get_person(connection, name)
                if person.id == session.person.id:
                    raise UsageError("a lead cannot lock themselves out")
                if do == "link":
                    token = people.new_link(connection, project, person)
                elif do in ("stop", "resume"):
                    people.set_active(connection, project, person, do == "resume")
    except UsageError as error:
        return _people_page(request, session, status_code=422, error=str(error))
    if token is None:
        return RedirectResponse("/lead/people", 303)
    base = request.app.state.public_url or str(request.base_url).rstrip("/")
    return _people_page(request, session, link=f"{base}/join/{token}", link_of=person.name)


@router.get("/lead/export")
def download(
    request: Request, session: _Reader, what: str = "all", form: str = "jsonl"
) -> Response:
    """Labels as a file."""
    if what not in LABELS or form not in FORMATS:
        raise Forbidden("forbidden.missing")
    chosen_what: Labels = next(each for each in LABELS if each == what)
    chosen_form: Format = next(each for each in FORMATS if each == form)
    made = export(project_of(request), chosen_what, chosen_form)
    name = f"labels-{what}.{_SUFFIX[form]}"
    return Response(
        made.text.encode("utf-8"),
        media_type=_KINDS[form],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Flames-Event": str(made.seq),
        },
    )


@router.get("/lead/label-studio.xml")
def config(request: Request, session: _Reader) -> Response:
    """The labelling config for Label Studio."""
    return Response(
        label_studio_config(language(request, session)).encode(),
        media_type="application/xml",
        headers={"Content-Disposition": 'attachment; filename="label-studio.xml"'},
    )
