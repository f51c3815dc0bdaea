"""What stands around the pages: security headers, and limits on what comes in."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class Guard:
    """Adds security headers to every response, and checks what comes in.

    Requests that change something must come from our own pages, as far as the browser says. A body
    is read before the application sees the request, and no more of it than `MAX_BODY` bytes,
    whatever length it declares: so nothing of it is ever written to the disk.

    Behind the path `root` of a proxy, the application sees paths without it, whether the proxy has
    taken it off or not, and redirects get it back.
    """

    def __init__(self, app: ASGIApp, *, https: bool, root: str = "") -> None:
        self.app = app
        self.https = https
        self.root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        path = scope["path"]
        if self.root and f"{path}/".startswith(f"{self.root}/"):
            scope = {**scope, "path": path.removeprefix(self.root) or "/"}
        request = Request(scope)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if request.url.path.startswith("/join/"):  # a page's address is a secret
                    headers["Referrer-Policy"] = "no-referrer"
                if headers.get("location", "").startswith("/"):
                    headers["location"] = self.root + headers["location"]
                if self.https or request.url.scheme == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                headers.setdefault("Cache-Control", "no-store")
                spent = (time.perf_counter() - begun) * 1000
                headers["Server-Timing"] = f"app;dur={spent:.2f}"
            await send(message)

        if refused := _refusal(request):
            await refused(scope, receive, send_safely)
        elif request.method in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send_safely)
        elif (body := await _read(receive)) is None:
            return  # the client went away
        elif isinstance(body, Response):
            await body(scope, receive, send_safely)
        else:
            await self.app(scope, _replay(body, receive), send_safely)


def _refusal(request: Request) -> Response | None:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return None
    if not _from_our_pages(request):
        return PlainTextResponse("This request does not come from one of our pages.", 403)
    bare = request.method == "DELETE" and "transfer-encoding" not in request.headers
    length = request.headers.get("content-length", "0" if bare else None)
    if length is None or not length.isdecimal() or "transfer-encoding" in request.headers:
        return PlainTextResponse("The request must declare its length.", 411)
    if len(length) > 9 or int(length) > MAX_BODY:
        return _too_large()
    return None


def _too_large() -> Response:
    return PlainTextResponse("The request is too large.", 413)


def _from_our_pages(request: Request) -> bool:
    """Checks what browsers say about a request; other programs say nothing (CSRF tokens remain)."""
    headers = request.headers
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None or site is not None:
        return True
    if origin == "null":  # what pages without a referrer say
        return request.url.path.startswith("/join/")
    return urlsplit(origin).netloc == headers.get("host")


async def _read(receive: Receive) -> bytes | Response | None:
    """Returns a body; a refusal if it is too large, and None if it does not arrive."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return rest.pop() if rest else await receive()

    return replayed
