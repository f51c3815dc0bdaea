"""Signing in by personal link or password, signing out, one's own account."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import people
from flames.annotation.people import LoginSession, Person, TooManyTriesError
from flames.annotation.web import guard as _guard
from flames.annotation.web.guard import any_session, checked, maybe_session, project_of
from flames.annotation.web.render import render
from flames.errors import UsageError

router = APIRouter()

HOME = {"annotator": "/work", "adjudicator": "/adjudicate", "lead": "/lead"}
_Maybe = Annotated[LoginSession | None, Depends(maybe_session)]
_Anyone = Annotated[LoginSession, Depends(checked("annotator", "adjudicator", "lead"))]


@router.get("/")
def home(session: _Maybe) -> Response:
    """Everybody's own first page."""
    return RedirectResponse(HOME[session.person.role] if session else "/signin", 303)


@router.get("/signin")
def signin_page(request: Request, session: _Maybe) -> Response:
    """The form for name and password."""
    if session is not None:
        return RedirectResponse(HOME[session.person.role], 303)
    return form_page(request, "signin.html")


def form_page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page with a form for somebody who is not signed in, and the token that it will show."""
    token = _guard.form_token(request)
    context = {"error": None, "name": "", **context}
    response = render(request, template, status_code=status, form_token=token, **context)
    _guard.keep_form_token(request, response, token)
    return response


@router.post("/signin")
def signin(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    form: Annotated[str, Form()] = "",
) -> Response:
    """Checks name and password."""
    _guard.check_form_token(request, form)
    project = project_of(request)
    try:
        noted = people.admit_try(project, _guard.address(request), name)
    except TooManyTriesError:
        return form_page(request, "signin.html", 429, error="signin.too_many", name=name[:80])
    person = people.check_password(project, name, password[:1000])
    if person is None:
        return form_page(request, "signin.html", 401, error="signin.wrong", name=name[:80])
    people.forgive(project, noted)
    return _enter(request, person)


@router.get("/join/{token}")
def join_page(request: Request, token: str) -> Response:
    """Asks whether to sign in; following a link alone changes nothing."""
    project = project_of(request)
    with project.database.read() as connection:
        person = people.person_of_link(connection, token)
    if person is None:
        return form_page(request, "signin.html", 404, error="signin.bad_link")
    return form_page(request, "join.html", token=token, owner=person)


@router.post("/join/{token}")
def join(request: Request, token: str, form: Annotated[str, Form()] = "") -> Response:
    """Signs in by personal link."""
    _guard.check_form_token(request, form)
    project = project_of(request)
    try:
        noted = people.admit_try(project, _guard.address(request))
    except TooManyTriesError:
        return form_page(request, "signin.html", 429, error="signin.too_many")
    with project.database.read() as connection:
        person = people.person_of_link(connection, token)
    if person is None:
        return form_page(request, "signin.html", 404, error="signin.bad_link")
    people.forgive(project, noted)
    return _enter(request, person)


def _enter(request: Request, person: Person) -> Response:
    """A fresh session, whatever the browser brought along."""
    project = project_of(request)
    with project.database.write() as connection:
        if old := _guard.session_token(request):
            people.close_session(connection, old)
        token = people.open_session(connection, project, person)
    first = "/guide" if person.role == "annotator" else HOME[person.role]
    response = RedirectResponse(first, 303)
    _guard.keep_session(request, response, token)
    return response


@router.post("/signout")
def signout(request: Request, session: _Anyone) -> Response:
    """Ends the session."""
    project = project_of(request)
    if token := _guard.session_token(request):
        with project.database.write() as connection:
            people.close_session(connection, token)
    response = RedirectResponse("/signin", 303)
    response.delete_cookie(_guard.cookie_name(request), path="/", secure=_guard.secure(request))
    return response


@router.post("/language")
def choose_language(
    request: Request,
    session: _Anyone,
    lang: Annotated[str, Form()] = "zh",
    back: Annotated[str, Form()] = "/",
) -> Response:
    """Changes the language of the pages, and returns to the page it was changed on."""
    project = project_of(request)
    with project.database.write() as connection:
        people.set_language(connection, session.person.id, "en" if lang == "en" else "zh")
    inside = back.startswith("/") and not back.startswith(("//", "/\\")) and "\\" not in back
    return RedirectResponse(back if inside else "/", 303)


@router.get("/account")
def account(request: Request, session: Annotated[LoginSession, Depends(any_session)]) -> Response:
    """Language and password."""
    return render(request, "account.html", session=session, error=None,
                  least=people.MIN_PASSWORD)  # fmt: skip


@router.post("/account/password")
def change_password(
    request: Request, session: _Anyone, password: Annotated[str, Form()] = ""
) -> Response:
    """Sets a password, which signs every other browser out."""
    project = project_of(request)
    try:
        with project.database.write() as connection:
            people.set_password(connection, project, session.person, password)
            token = people.open_session(connection, project, session.person)
    except UsageError:
        return render(request, "account.html", session=session, error="account.short",
                      status_code=400, least=people.MIN_PASSWORD)  # fmt: skip
    response = RedirectResponse("/account?said=password", 303)
    _guard.keep_session(request, response, token)
    return response
