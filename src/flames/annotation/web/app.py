"""The application: the pages with everything around them, and serving it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache, partial
from importlib import resources
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from flames.annotation.options import SETTLE_SECONDS, ServeOptions, checked_url
from flames.annotation.project import Project
from flames.annotation.tasks import MAX_RATIONALE
from flames.annotation.web import labelling, lead, leading, session
from flames.annotation.web.api import build_api
from flames.annotation.web.guard import Guard
from flames.annotation.web.processes import run_processes
from flames.annotation.web.render import render
from flames.annotation.web.server import build_server, listen, tls_context
from flames.annotation.web.session import maybe_session
from flames.errors import FlamesError, OutsideError

_WEB = "flames.annotation.web"
_STATIC = {
    "base.css": ("flames.reports", "templates/base.css", "text/css"),
    "app.css": (_WEB, "static/app.css", "text/css"),
    "app.js": (_WEB, "static/app.js", "text/javascript"),
    "icon.svg": (_WEB, "static/icon.svg", "image/svg+xml"),
}
_log = logging.getLogger(__name__)


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
    app = FastAPI(
        title="Flames", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.project = project
    app.state.root = urlsplit(public_url or "").path
    app.state.public_url = public_url
    app.state.https = https or (public_url or "").startswith("https://")
    app.state.settle = settle
    app.state.min_seconds = min_seconds
    app.state.watch = lead.Watch(project)
    for router in (session.router, labelling.router, lead.router, leading.router):
        app.include_router(router)
    app.mount("/api", build_api(app.state))
    app.add_api_route("/static/{name}", _static, methods=["GET"])
    app.add_api_route("/health", lambda: PlainTextResponse("ok\n"), methods=["GET"])
    for kind in (HTTPException, RequestValidationError, FlamesError, Exception):
        app.add_exception_handler(kind, _failed)
    # Around everything, the application's own failures included.
    return Guard(app, https=app.state.https, root=app.state.root)


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
    """Serves a project until interrupted; calls `ready` with the address once it listens.

    Raises:
        OutsideError: One of several processes cannot serve.
    """
    host, url, tls = options.host, options.public_url, tls_context(options)
    app = create_app(
        project, public_url=url, https=tls is not None, settle=options.settle,
        min_seconds=options.min_seconds,
    )  # fmt: skip
    scheme = "http" if tls is None else "https"
    shown_host = f"[{host}]" if ":" in host else host
    with listen(options) as sock:
        if ready is not None:
            ready(url or f"{scheme}://{shown_host}:{sock.getsockname()[1]}")
        build = partial(
            build_server, app, proxies=options.proxies, sso_header=options.sso_header, tls=tls
        )
        if options.processes == 1:
            build().run(sockets=[sock])
            return
        project.database.close()  # connections are not shared: each process opens its own
        run_processes(options.processes, lambda place: build(place=place).run(sockets=[sock]))
