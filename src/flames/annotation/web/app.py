"""The application: security headers and limits around the pages, and the server that runs it."""

from __future__ import annotations

import hashlib
import logging
import socket
import time
from collections.abc import Callable
from functools import cache, partial
from importlib import resources
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from flames.annotation.options import SETTLE_SECONDS, ServeOptions, checked_url
from flames.annotation.project import Project
from flames.annotation.tasks import MAX_RATIONALE
from flames.annotation.web import labelling, lead, session
from flames.annotation.web.render import render
from flames.annotation.web.session import maybe_session
from flames.errors import FlamesError, OutsideError, UsageError

MAX_BODY = 256 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # stricter, and POST requests would come without an Origin
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_WEB = "flames.annotation.web"
_STATIC = {
    "base.css": ("flames.reports", "templates/base.css", "text/css"),
    "app.css": (_WEB, "static/app.css", "text/css"),
    "app.js": (_WEB, "static/app.js", "text/javascript"),
    "icon.svg": (_WEB, "static/icon.svg", "image/svg+xml"),
}
_log = logging.getLogger(__name__)


async def _guarded(
    request: Request, call_next: RequestResponseEndpoint, *, https: bool
) -> Response:
    """Adds security headers to a response, and checks what comes in.

    Requests that change something must come from our own pages, as far as the browser says, and
    declare at most `MAX_BODY` bytes; the server reads no more than declared.
    """
    begun = time.perf_counter()
    response = _refusal(request) or await call_next(request)
    response.headers.update(_HEADERS)
    if https or request.url.scheme == "https":
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    response.headers.setdefault("Cache-Control", "no-store")
    spent = (time.perf_counter() - begun) * 1000
    response.headers["Server-Timing"] = f"app;dur={spent:.2f}"
    return response


def _refusal(request: Request) -> Response | None:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return None
    if not _from_our_pages(request.headers):
        return PlainTextResponse("This request does not come from one of our pages.", 403)
    length = request.headers.get("content-length")
    if length is None or not length.isdecimal():
        return PlainTextResponse("The request must declare its length.", 411)
    if int(length) > MAX_BODY:
        return PlainTextResponse("The request is too large.", 413)
    return None


def _from_our_pages(headers: Headers) -> bool:
    """Checks what browsers say about a request; other programs say nothing (CSRF tokens remain)."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None or site is not None:
        return True
    return urlsplit(origin).netloc == headers.get("host")


def create_app(
    project: Project,
    *,
    public_url: str | None = None,
    https: bool = False,
    settle: float = SETTLE_SECONDS,
    min_seconds: float | None = None,
) -> ASGIApp:
    """Builds the web application; links begin with `public_url`, `https` means TLS of our own.

    A new item takes no answer for `settle` seconds; answers within `min_seconds` are marked.
    """
    if public_url is not None:
        public_url = checked_url(public_url)
    app = FastAPI(title="Flames", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.project = project
    app.state.public_url = public_url
    app.state.https = https or (public_url or "").startswith("https://")
    app.state.settle = settle
    app.state.min_seconds = min_seconds
    app.state.watch = lead.Watch(project)
    for router in (session.router, labelling.router, lead.router):
        app.include_router(router)
    app.add_api_route("/static/{name}", _static, methods=["GET"])
    app.add_api_route("/health", lambda: PlainTextResponse("ok\n"), methods=["GET"])
    for kind in (HTTPException, RequestValidationError, FlamesError, Exception):
        app.add_exception_handler(kind, _failed)
    # Around everything, the application's own failures included.
    return BaseHTTPMiddleware(app, partial(_guarded, https=app.state.https))


def _static(request: Request, name: str) -> Response:
    if name not in _STATIC:
        raise HTTPException(404)
    *place, kind = _STATIC[name]
    content = _content(*place)
    # The icon stays in the browser: asked for anew with every item, it would flicker.
    keep = "max-age=86400" if name == "icon.svg" else "no-cache"
    headers = {"Cache-Control": keep, "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@cache
def _content(package: str, path: str) -> bytes:
    return resources.files(package).joinpath(path).read_bytes()


async def _failed(request: Request, error: Exception) -> Response:
    """Answers a request that failed, with the text of its form if its sender may not send it.

    401 means that nobody is signed in; the detail of a 403 is a key of the strings.
    """
    refused = isinstance(error, HTTPException) and error.status_code in (401, 403)
    unsaved = await _unsaved_text(request) if refused else ""
    match error:
        case HTTPException(status_code=401):
            if unsaved:
                return session.form_page(request, "signin.html", 401, unsaved=unsaved)
            return RedirectResponse("/signin", 303)
        case HTTPException(status_code=403, detail=why):
            code = 403
        case HTTPException(status_code=404):
            code, why = 404, "forbidden.missing"
        case HTTPException(status_code=code):
            why = "error.request"
        case OutsideError():
            _log.error("%s", error)
            code, why = 503, "error.database"
        case FlamesError() | RequestValidationError():
            code, why = 400, "error.request"
        case _:
            code, why = 500, "error.bug"
    try:
        reader = maybe_session(request)
    except FlamesError:
        reader = None  # the database is away: the page can do without a name
    return render(
        request, "error.html", session=reader, status_code=code, code=code, why=why,
        unsaved=unsaved,
    )  # fmt: skip


async def _unsaved_text(request: Request) -> str:
    if request.method != "POST":
        return ""
    form = await request.form()
    texts = (form.get(name) for name in ("rationale", "reason"))
    return next((t.strip()[:MAX_RATIONALE] for t in texts if isinstance(t, str) and t), "")


def serve(
    project: Project, options: ServeOptions, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serves a project until interrupted; calls `ready` with the address once it listens."""
    host, url = options.host, options.public_url
    app = create_app(
        project, public_url=url, https=options.certificate is not None, settle=options.settle,
        min_seconds=options.min_seconds,
    )  # fmt: skip
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, options.port), family=family, backlog=2048)
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
    shown_host = f"[{host}]" if ":" in host else host
    with sock:
        if ready is not None:
            ready(url or f"{scheme}://{shown_host}:{sock.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[sock])
