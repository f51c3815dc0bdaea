"""The application, and the server that it runs on."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from flames.annotation.options import ServeOptions, checked_url
from flames.annotation.project import Project
from flames.annotation.tasks import MAX_RATIONALE
from flames.annotation.web import adjudicate as _adjudicate
from flames.annotation.web import lead as _lead
from flames.annotation.web import signin as _signin
from flames.annotation.web import work as _work
from flames.annotation.web.guard import Forbidden, Guard, SignInNeeded, maybe_session
from flames.annotation.web.render import render, static_file
from flames.errors import FlamesError, OutsideError, UsageError

_log = logging.getLogger(__name__)


def create_app(project: Project, *, public_url: str | None = None, https: bool = False) -> ASGIApp:
    """The web application of a project.

    Args:
        project: The project, open. Requests run in threads and share it.
        public_url: How people reach the server, where that differs from how they seem to
            (`https://labels.example.org` behind a proxy); personal links begin with it.
        https: Whether the server itself speaks TLS; an `https` address says so, too.

    Raises:
        UsageError: The URL is none.
    """
    if public_url is not None:
        public_url = checked_url(public_url)
    app = FastAPI(title="Flames", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.project = project
    app.state.public_url = public_url
    app.state.https = https or (public_url or "").startswith("https://")
    app.state.watch = _lead.Watch(project)
    for part in (_signin, _work, _adjudicate, _lead):
        app.include_router(part.router)
    app.add_api_route("/static/{name}", _static, methods=["GET"])
    app.add_api_route("/health", _health, methods=["GET"])
    for kind, handler in _HANDLERS:
        app.add_exception_handler(kind, handler)
    return Guard(app, https=app.state.https)  # around everything, its own failures included


def _static(name: str) -> Response:
    found = static_file(name)
    if found is None:
        raise HTTPException(404)
    content, kind = found
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _health() -> Response:
    return PlainTextResponse("ok\n")


async def _to_signin(request: Request, _: Exception) -> Response:
    if unsaved := await _written(request):
        return _signin.form_page(request, "signin.html", 401, unsaved=unsaved)
    return RedirectResponse("/signin", 303)


async def _forbidden(request: Request, error: Exception) -> Response:
    assert isinstance(error, Forbidden)
    code = 404 if error.why == "forbidden.missing" else 403
    return _error(request, code, error.why, unsaved=await _written(request))


async def _written(request: Request) -> str:
    """What somebody wrote in a form that is refused because they may no longer send it."""
    if request.method != "POST":
        return ""
    form = await request.form()
    texts = (form.get(name) for name in ("rationale", "reason"))
    return next((t.strip()[:MAX_RATIONALE] for t in texts if isinstance(t, str) and t), "")


async def _http(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 400
    return _error(request, code, "forbidden.missing" if code == 404 else "error.request")


async def _flames(request: Request, error: Exception) -> Response:
    if isinstance(error, OutsideError):
        _log.error("%s", error)
        return _error(request, 503, "error.database")
    return _error(request, 400, "error.request")


async def _bug(request: Request, error: Exception) -> Response:
    return _error(request, 500, "error.bug")


def _error(request: Request, code: int, words: str, unsaved: str = "") -> Response:
    try:
        session = maybe_session(request)
    except FlamesError:
        session = None  # the database is away: the page can do without a name
    return render(
        request, "error.html", session=session, status_code=code, code=code, why=words,
        unsaved=unsaved,
    )  # fmt: skip


_Handler = Callable[[Request, Exception], Awaitable[Response]]
_HANDLERS: tuple[tuple[type[Exception], _Handler], ...] = (
    (SignInNeeded, _to_signin),
    (Forbidden, _forbidden),
    (HTTPException, _http),
    (RequestValidationError, _http),
    (FlamesError, _flames),
    (Exception, _bug),
)


def serve(
    project: Project, options: ServeOptions, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serves a project until it is interrupted.

    Args:
        project: The project.
        options: Where it listens, and how people reach it.
        ready: Called with the address once the server listens.

    Raises:
        UsageError: The address cannot be listened on.
    """
    host, url = options.host, options.public_url
    app = create_app(project, public_url=url, https=options.certificate is not None)
    try:
        sock = socket.create_server((host, options.port), family=_family(host), backlog=2048)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{options.port}: {error.strerror}") from None
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # paths hold personal links
        server_header=False,
        date_header=False,
        proxy_headers=options.proxies is not None,
        forwarded_allow_ips=options.proxies or "",
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        timeout_keep_alive=75,  # people read for a while between two answers
        timeout_graceful_shutdown=5,
    )
    scheme = "https" if options.certificate is not None else "http"
    shown = f"[{host}]" if ":" in host else host
    with sock:
        if ready is not None:
            ready(url or f"{scheme}://{shown}:{sock.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[sock])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
