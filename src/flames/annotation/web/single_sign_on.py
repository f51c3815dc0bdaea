"""Single sign-on: whom a proxy that has checked people says a request comes from."""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

_KEY = "signed_on"


class SingleSignOn:
    """Believes a header of requests that come from the proxy itself, and of no other.

    Stands before whatever puts the client's address in place of the proxy's.
    """

    def __init__(self, app: ASGIApp, header: str, proxies: str) -> None:
        self.app = app
        self.header = header
        self.proxies = [ipaddress.ip_network(part.strip()) for part in proxies.split(",")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, with the name of its person."""
        if scope["type"] == "http" and self._trusts(scope):
            names = Headers(scope=scope).getlist(self.header)
            name = _decoded(names[0]).strip() if len(names) == 1 else ""
            if name:
                scope = {**scope, "state": {**scope.get("state", {}), _KEY: name}}
        await self.app(scope, receive, send)

    def _trusts(self, scope: Scope) -> bool:
        try:
            peer = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(peer in network for network in self.proxies)


def _decoded(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def signed_on(request: Request) -> str | None:
    """Returns the name of the person by the proxy; None without single sign-on."""
    name: str | None = request.scope.get("state", {}).get(_KEY)
    return name
