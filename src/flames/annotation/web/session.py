"""Who sends a request: sessions, roles and form tokens; signing in, signing out, the account."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flames.annotation import access, people
from flames.annotation.access import LoginSession, TooManyTriesError
from flames.annotation.options import ROLES, Role
from flames.annotation.people import Person
from flames.annotation.project import Project
from flames.annotation.web.render import render
from flames.annotation.web.single_sign_on import signed_on
from flames.errors import UsageError
from flames.taxonomy import Language

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
    """Names a cookie of the project: over HTTPS such that no other site can set it.

    Cookies do not tell ports apart; with a name of its own, two projects on a host do not sign each
    other out. A cookie for a path cannot also be bound to its host (`__Host-`).
    """
    named = f"flames_{name}_{project_of(request).key}"
    if not _secure(request):
        return named
    return f"__Secure-{named}" if request.app.state.root else f"__Host-{named}"


def _cookie_path(request: Request) -> str:
    return request.app.state.root or "/"


def _session_token(request: Request) -> str | None:
    return request.cookies.get(_cookie_name(request)) or None


def maybe_session(request: Request) -> LoginSession | None:
    """Returns the session of a request, if there is one."""
    token = _session_token(request)
    if token is None:
        return None
    with project_of(request).database.look() as connection:
        session = access.find_session(connection, project_of(request), token)
    name = signed_on(request)
    if session is None or name is None:
        return session
    same = people.person_key(session.person.name) == people.person_key(name.strip())
    return session if same else None  # somebody else sits at the browser now


class Visit(NamedTuple):
    """A request by a person who is signed in."""

    request: Request
    session: LoginSession

    @property
    def project(self) -> Project:
        """The project that is served."""
        return project_of(self.request)

    @property
    def me(self) -> int:
        """The number of the person who is signed in."""
        return self.session.person.id

    def page(self, template: str, **context: Any) -> Response:
        """Renders a template for this reader."""
        return render(self.request, template, session=self.session, **context)


def any_visit(request: Request) -> Visit:
    """Returns a request with its session."""
    session = maybe_session(request)
    if session is None:
        raise HTTPException(401)
    return Visit(request, session)


def only(*roles: Role) -> Callable[[Visit], Awaitable[Visit]]:
    """Builds a dependency that lets only these roles through."""

    # What waits for nothing is a coroutine: it costs no change of threads.
    async def check(visit: Annotated[Visit, Depends(any_visit)]) -> Visit:
        return _let_through(visit, roles)

    return check


def checked(*roles: Role) -> Callable[[Visit, str], Awaitable[Visit]]:
    """Builds a dependency for forms: these roles, and our own CSRF token."""

    async def check(visit: Annotated[Visit, Depends(any_visit)], csrf: FormField = "") -> Visit:
        return _let_through(visit, roles, csrf)

    return check


def visit_by_form(request: Request, csrf: str, *roles: Role) -> Visit:
    """Returns a request with its session, checked as by `checked`.

    A form that is sent often calls this itself: that saves the change of threads between finding
    the session and the rest.
    """
    return _let_through(any_visit(request), roles, csrf)


def _let_through(visit: Visit, roles: tuple[Role, ...], csrf: str | None = None) -> Visit:
    """Refuses other roles and, of a form, a token that is not ours."""
    if visit.session.person.role not in roles:
        raise HTTPException(403, "forbidden.role")
    if csrf is not None and not _same(csrf, visit.session.csrf):
        raise HTTPException(403, "forbidden.form")
    return visit


_Maybe = Annotated[LoginSession | None, Depends(maybe_session)]
_Reader = Annotated[Visit, Depends(any_visit)]
_Sender = Annotated[Visit, Depends(checked(*ROLES))]


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
        name, token, max_age=3600, path=_cookie_path(request), secure=_secure(request),
        httponly=True, samesite="strict",
    )  # fmt: skip
    return response


def _forget(request: Request, response: Response, name: str) -> None:
    path, secure = _cookie_path(request), _secure(request)
    response.delete_cookie(_cookie_name(request, name), path=path, secure=secure)


def _keep_session(request: Request, response: Response, token: str) -> Response:
    """Gives the browser its session, and takes away the token of the form that opened it."""
    response.set_cookie(
        _cookie_name(request), token, max_age=access.SESSION_SECONDS, path=_cookie_path(request),
        secure=_secure(request), httponly=True, samesite="lax",
    )  # fmt: skip
    _forget(request, response, "form")
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
    name = signed_on(request)
    if name is None:
        return form_page(request, "signin.html")
    entered = access.enter_by_proxy(project_of(request), name)
    if entered is None:
        return form_page(request, "signin.html", 403, error="signin.unknown")
    return _welcome(request, *entered)


@router.post("/signin")
def signin(
    request: Request, name: FormField = "", password: FormField = "", form: FormField = ""
) -> Response:
    """Signs in by name and password."""
    address = request.client.host if request.client else "unknown"
    check = partial(access.enter_by_password, address=address, name=name, password=password[:1000])
    return _try_to_enter(request, form, check, (401, "signin.wrong"), name)


@router.get("/join/{token}")
def join_page(request: Request, token: str) -> Response:
    """Asks whether to sign in; following a link alone changes nothing."""
    project = project_of(request)
    with project.database.read() as connection:
        owner = access.person_of_link(connection, project, token)
    if owner is None:
        return form_page(request, "signin.html", 404, error="signin.bad_link")
    return form_page(request, "join.html", token=token, owner=owner)


@router.post("/join/{token}")
def join(request: Request, token: str, form: FormField = "") -> Response:
    """Signs in by personal link."""
    check = partial(access.enter_by_link, token=token)
    return _try_to_enter(request, form, check, (404, "signin.bad_link"))


def _try_to_enter(
    request: Request,
    form_token: str,
    enter: Callable[[Project], tuple[Person, str] | None],
    refused: tuple[int, str],
    name: str = "",
) -> Response:
    """Signs in by `enter`, with a new session whatever cookie the browser brought."""
    wanted = request.cookies.get(_cookie_name(request, "form"))
    if not wanted or not _same(form_token, wanted):
        raise HTTPException(403, "forbidden.form")
    project, shown = project_of(request), {"name": name[:80]}
    try:
        entered = enter(project)
    except TooManyTriesError:
        return form_page(request, "signin.html", 429, error="signin.too_many", **shown)
    if entered is None:
        status, error = refused
        return form_page(request, "signin.html", status, error=error, **shown)
    return _welcome(request, *entered)


def _welcome(request: Request, person: Person, token: str) -> Response:
    if old := _session_token(request):
        with project_of(request).database.write() as connection:
            access.close_session(connection, old)
    first = "/guide" if person.role == "annotator" else HOME[person.role]
    return _keep_session(request, RedirectResponse(first, 303), token)


@router.post("/signout")
def signout(visit: _Sender) -> Response:
    """Ends the session."""
    request = visit.request
    if token := _session_token(request):
        with visit.project.database.write() as connection:
            access.close_session(connection, token)
    response = RedirectResponse("/signin", 303)
    _forget(request, response, "session")
    return response


@router.post("/language")
def choose_language(visit: _Sender, lang: FormField = "zh", back: FormField = "/") -> Response:
    """Stores the language of the pages, and goes back to a page of ours."""
    with visit.project.database.write() as connection:
        chosen: Language = "en" if lang == "en" else "zh"
        people.set_language(connection, visit.project, visit.session.person, chosen)
    inside = back.startswith("/") and not back.startswith(("//", "/\\")) and "\\" not in back
    return RedirectResponse(back if inside else "/", 303)


@router.get("/account")
def account(visit: _Reader) -> Response:
    """Shows language and password."""
    return visit.page("account.html", error=None, least=access.MIN_PASSWORD)


@router.post("/account/password")
def change_password(visit: _Sender, password: FormField = "") -> Response:
    """Sets a password, which signs out every other browser."""
    project, person = visit.project, visit.session.person
    try:
        with project.database.write() as connection:
            access.set_password(connection, project, person, password)
            token = access.open_session(connection, project, person)
    except UsageError:
        refused = {"error": "account.short", "least": access.MIN_PASSWORD}
        return visit.page("account.html", status_code=400, **refused)
    return _keep_session(visit.request, RedirectResponse("/account?notice=password", 303), token)
