"""Who sends a request: sessions, roles and form tokens; signing in, signing out, the account."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import people
from flames.annotation.options import ROLES, Role
from flames.annotation.people import LoginSession, Person, TooManyTriesError
from flames.annotation.project import Project
from flames.annotation.web.render import render
from flames.errors import UsageError

router = APIRouter()

HOME = {"annotator": "/work", "adjudicator": "/adjudicate", "lead": "/lead"}
FormField = Annotated[str, Form()]


def project_of(request: Request) -> Project:
    """Returns the project that is served."""
    project: Project = request.app.state.project
    return project


def _secure(request: Request) -> bool:
    return bool(request.app.state.https) or request.url.scheme == "https"


def _cookie_name(request: Request, name: str = "session") -> str:
    """Names a cookie: over HTTPS such that no other site or subdomain can set it."""
    return f"__Host-flames_{name}" if _secure(request) else f"flames_{name}"


def _session_token(request: Request) -> str | None:
    return request.cookies.get(_cookie_name(request)) or None


def maybe_session(request: Request) -> LoginSession | None:
    """Returns the session of a request, if there is one."""
    token = _session_token(request)
    if token is None:
        return None
    with project_of(request).database.look() as connection:
        return people.find_session(connection, project_of(request), token)


def any_session(session: Annotated[LoginSession | None, Depends(maybe_session)]) -> LoginSession:
    """Returns the session of a request."""
    if session is None:
        raise HTTPException(401)
    return session


def only(*roles: Role) -> Callable[[LoginSession], LoginSession]:
    """Builds a dependency that lets only these roles through."""

    def check(session: Annotated[LoginSession, Depends(any_session)]) -> LoginSession:
        if session.person.role not in roles:
            raise HTTPException(403, "forbidden.role")
        return session

    return check


def checked(*roles: Role) -> Callable[[LoginSession, str], LoginSession]:
    """Builds a dependency for forms: these roles, and our own CSRF token."""
    allowed = only(*roles)

    def check(
        session: Annotated[LoginSession, Depends(any_session)], csrf: FormField = ""
    ) -> LoginSession:
        allowed(session)
        if not _same(csrf, session.csrf):
            raise HTTPException(403, "forbidden.form")
        return session

    return check


_Maybe = Annotated[LoginSession | None, Depends(maybe_session)]
_Reader = Annotated[LoginSession, Depends(any_session)]
_Sender = Annotated[LoginSession, Depends(checked(*ROLES))]


def _same(given: str, wanted: str) -> bool:
    """Compares two secrets in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def form_page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Renders a form for somebody who is not signed in, with a token that its cookie repeats."""
    name = _cookie_name(request, "form")
    token = request.cookies.get(name) or secrets.token_urlsafe(24)
    context = {"error": None, "name": "", **context}
    response = render(request, template, status_code=status, form_token=token, **context)
    response.set_cookie(
        name, token, max_age=3600, path="/", secure=_secure(request), httponly=True,
        samesite="strict",
    )  # fmt: skip
    return response


def _keep_session(request: Request, response: Response, token: str) -> Response:
    """Gives the browser its session, and takes away the token of the form that opened it."""
    response.set_cookie(
        _cookie_name(request), token, max_age=people.SESSION_SECONDS, path="/",
        secure=_secure(request), httponly=True, samesite="lax",
    )  # fmt: skip
    response.delete_cookie(_cookie_name(request, "form"), path="/", secure=_secure(request))
    return response


@router.get("/")
def home(session: _Maybe) -> Response:
    """Redirects to the role's first page."""
    return RedirectResponse(HOME[session.person.role] if session else "/signin", 303)


@router.get("/signin")
def signin_page(request: Request, session: _Maybe) -> Response:
    """Shows the form for name and password."""
    if session is not None:
        return RedirectResponse(HOME[session.person.role], 303)
    return form_page(request, "signin.html")


@router.post("/signin")
def signin(
    request: Request, name: FormField = "", password: FormField = "", form: FormField = ""
) -> Response:
    """Signs in by name and password."""
    check = partial(people.check_password, name=name, password=password[:1000])
    return _try_to_enter(request, form, check, (401, "signin.wrong"), name)


@router.get("/join/{token}")
def join_page(request: Request, token: str) -> Response:
    """Asks whether to sign in; following a link alone changes nothing."""
    owner = _owner(project_of(request), token)
    if owner is None:
        return form_page(request, "signin.html", 404, error="signin.bad_link")
    return form_page(request, "join.html", token=token, owner=owner)


@router.post("/join/{token}")
def join(request: Request, token: str, form: FormField = "") -> Response:
    """Signs in by personal link."""
    return _try_to_enter(request, form, partial(_owner, token=token), (404, "signin.bad_link"))


def _owner(project: Project, token: str) -> Person | None:
    with project.database.read() as connection:
        return people.person_of_link(connection, token)


def _try_to_enter(
    request: Request,
    form_token: str,
    check: Callable[[Project], Person | None],
    refused: tuple[int, str],
    name: str | None = None,
) -> Response:
    """Signs in whom `check` returns, with a new session whatever cookie the browser brought."""
    wanted = request.cookies.get(_cookie_name(request, "form"))
    if not wanted or not _same(form_token, wanted):
        raise HTTPException(403, "forbidden.form")
    project = project_of(request)
    address = request.client.host if request.client else "unknown"
    shown = {"name": (name or "")[:80]}
    try:
        attempt = people.admit_try(project, address, name)
    except TooManyTriesError:
        return form_page(request, "signin.html", 429, error="signin.too_many", **shown)
    person = check(project)
    if person is None:
        status, error = refused
        return form_page(request, "signin.html", status, error=error, **shown)
    people.forgive(project, attempt)
    with project.database.write() as connection:
        if old := _session_token(request):
            people.close_session(connection, old)
        token = people.open_session(connection, project, person)
    first = "/guide" if person.role == "annotator" else HOME[person.role]
    return _keep_session(request, RedirectResponse(first, 303), token)


@router.post("/signout")
def signout(request: Request, session: _Sender) -> Response:
    """Ends the session."""
    if token := _session_token(request):
        with project_of(request).database.write() as connection:
            people.close_session(connection, token)
    response = RedirectResponse("/signin", 303)
    response.delete_cookie(_cookie_name(request), path="/", secure=_secure(request))
    return response


@router.post("/language")
def choose_language(
    request: Request, session: _Sender, lang: FormField = "zh", back: FormField = "/"
) -> Response:
    """Stores the language of the pages, and goes back to a page of ours."""
    with project_of(request).database.write() as connection:
        people.set_language(connection, session.person.id, "en" if lang == "en" else "zh")
    inside = back.startswith("/") and not back.startswith(("//", "/\\")) and "\\" not in back
    return RedirectResponse(back if inside else "/", 303)


@router.get("/account")
def account(request: Request, session: _Reader) -> Response:
    """Shows language and password."""
    return _account_page(request, session)


def _account_page(
    request: Request, session: LoginSession, error: str | None = None, status: int = 200
) -> Response:
    return render(
        request, "account.html", session=session, status_code=status, error=error,
        least=people.MIN_PASSWORD,
    )  # fmt: skip


@router.post("/account/password")
def change_password(request: Request, session: _Sender, password: FormField = "") -> Response:
    """Sets a password, which signs out every other browser."""
    project = project_of(request)
    try:
        with project.database.write() as connection:
            people.set_password(connection, project, session.person, password)
            token = people.open_session(connection, project, session.person)
    except UsageError:
        return _account_page(request, session, "account.short", 400)
    return _keep_session(request, RedirectResponse("/account?notice=password", 303), token)
