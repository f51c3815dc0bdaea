"""What stands between the network and the pages: headers, sizes, origins, sessions, roles."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flames.annotation import people
from flames.annotation.options import Role
from flames.annotation.people import LoginSession
from flames.annotation.project import Project

MAX_BODY = 256 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without an Origin, POST requests could not be told apart
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class SignInNeeded(Exception):
    """Nobody is signed in."""


class Forbidden(Exception):
    """The page is not for this reader, or the form was not ours. `why` is a key of the words."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Guard:
    """ASGI middleware: security headers on everything, limits on what comes in.

    Requests that change something must come from our own pages as far as the browser tells, and
    say that they hold at most `MAX_BODY` bytes; the server reads no more than they say. How long
    a request took on the server stands in `Server-Timing`, in milliseconds.
    """

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self.https or scope.get("scheme") == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                headers.setdefault("Cache-Control", "no-store")
                spent = (time.perf_counter() - begun) * 1000
                headers["Server-Timing"] = f"app;dur={spent:.2f}"
            await send(message)

        refusal = _refused(scope)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        await self.app(scope, receive, answer)


def _refused(scope: Scope) -> Response | None:
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return None
    headers = Headers(scope=scope)
    if not _from_our_pages(headers):
        return PlainTextResponse("This request does not come from one of our pages.", 403)
    length = headers.get("content-length")
    if length is None or not length.isdecimal():
        return PlainTextResponse("The request must tell its length.", 411)
    if int(length) > MAX_BODY:
        return PlainTextResponse("The request is too large.", 413)
    return None


def _from_our_pages(headers: Headers) -> bool:
    """By what browsers tell of a request; other programs tell nothing and need the CSRF token."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None or site is not None:
        return True
    return urlsplit(origin).netloc == headers.get("host")


def project_of(request: Request) -> Project:
    """The project that is served."""
    project: Project = request.app.state.project
    return project


def wants_page(request: Request) -> bool:
    """Whether our own script sent the form: it shows what comes back, and needs no redirect."""
    return request.headers.get("x-flames-page") == "1"


def cookie_name(request: Request, name: str = "session") -> str:
    """A cookie's name: over HTTPS one that no other site or subdomain can set."""
    return f"__Host-flames_{name}" if secure(request) else f"flames_{name}"


def secure(request: Request) -> bool:
    """Whether the browser reaches us over HTTPS."""
    return bool(request.app.state.https) or request.url.scheme == "https"


def address(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "unknown"


def session_token(request: Request) -> str | None:
    """The secret in the session cookie, if there is one."""
    return request.cookies.get(cookie_name(request)) or None


def maybe_session(request: Request) -> LoginSession | None:
    """Who is signed in, if anybody."""
    token = session_token(request)
    if token is None:
        return None
    project = project_of(request)
    with project.database.look() as connection:
        return people.find_session(connection, project, token)


def any_session(session: Annotated[LoginSession | None, Depends(maybe_session)]) -> LoginSession:
    """Whoever is signed in.

    Raises:
        SignInNeeded: Nobody is.
    """
    if session is None:
        raise SignInNeeded
    return session


def only(*roles: Role) -> Callable[[LoginSession], LoginSession]:
    """A dependency that lets only these roles through."""

    def check(session: Annotated[LoginSession, Depends(any_session)]) -> LoginSession:
        if session.person.role not in roles:
            raise Forbidden("forbidden.role")
        return session

    return check


def checked(*roles: Role) -> Callable[[LoginSession, str], LoginSession]:
    """A dependency for forms: these roles, and our own CSRF token."""
    allowed = only(*roles)

    def check(
        session: Annotated[LoginSession, Depends(any_session)], csrf: Annotated[str, Form()] = ""
    ) -> LoginSession:
        allowed(session)
        if not same(csrf, session.csrf):
            raise Forbidden("forbidden.form")
        return session

    return check


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def form_token(request: Request) -> str:
    """The token of forms that are sent before anybody is signed in."""
    return request.cookies.get(cookie_name(request, "form")) or secrets.token_urlsafe(24)


def keep_form_token(request: Request, response: Response, token: str) -> None:
    """Gives the browser the token that its form will have to show."""
    response.set_cookie(
        cookie_name(request, "form"), token, max_age=3600, path="/", secure=secure(request),
        httponly=True, samesite="strict",
    )  # fmt: skip


def check_form_token(request: Request, given: str) -> None:
    """Compares a form with the browser's cookie.

    Raises:
        Forbidden: They differ, or there is no cookie.
    """
    wanted = request.cookies.get(cookie_name(request, "form"))
    if not wanted or not same(given, wanted):
        raise Forbidden("forbidden.form")


def keep_session(request: Request, response: Response, token: str) -> None:
    """Gives the browser its session, and takes the token of the form before away."""
    response.set_cookie(
        cookie_name(request), token, max_age=people.SESSION_SECONDS, path="/",
        secure=secure(request), httponly=True, samesite="lax",
    )  # fmt: skip
    response.delete_cookie(cookie_name(request, "form"), path="/", secure=secure(request))
