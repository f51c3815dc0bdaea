"""The HTTP server: uvicorn, with the limits on slow and greedy clients that it lacks.

A request has a time for its head and one for its body, a response one for being read; bytes that
drip in do not extend them. An address, and all together, may hold so many connections; one more
takes the place of the one that has waited longest for its client. So half-sent requests cannot
keep others out, wherever they come from.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
import ssl
from collections import Counter, defaultdict
from functools import partial
from typing import Any, NamedTuple, cast

import anyio.to_thread
import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from flames.annotation.options import ServeOptions
from flames.annotation.web.processes import Place
from flames.annotation.web.single_sign_on import SingleSignOn
from flames.annotation.web.turns import accept_in_turns
from flames.errors import UsageError

_ACCEPT = 64  # connections accepted at a time, before the limits are applied to them
_THREADS = 3  # requests answered at a time: more would only hold each other up, some for long
_QUEUE = 2048  # connections that the system keeps waiting
_SPARE_FILES = 384  # for those, the database and everything else
_UNWANTED = 1024 * 1024  # bytes of refused bodies that are thrown away, so that the answer arrives


class Limits(NamedTuple):
    """Seconds for each part of an exchange, and connections."""

    head: float = 10.0
    body: float = 20.0
    response: float = 60.0
    linger: float = 2.0  # for what follows a body that was refused
    idle: float = 75.0  # people read for a while between two answers
    per_address: int = 256
    total: int = 4096


class Crowd:
    """All connections, by the address of their client."""

    def __init__(
        self, limits: Limits, unlimited: frozenset[str] = frozenset(), place: Place | None = None
    ) -> None:
        self.limits = limits
        self._place = place  # among several processes
        self._unlimited = unlimited
        self._held: Counter[str] = Counter()
        self._half_sent: dict[str, dict[Connection, None]] = defaultdict(dict)
        self._idle: dict[str, dict[Connection, None]] = defaultdict(dict)

    def enter(self, connection: Connection) -> bool:
        """Takes in a connection, if need be in place of another; False if there is no place."""
        address = connection.address
        full = address not in self._unlimited and self._held[address] >= self.limits.per_address
        if full and not self._drop_one(address):
            return False
        if self._held.total() >= self.limits.total:
            [(largest, _)] = self._held.most_common(1)
            if not self._drop_one(largest):
                return False
        self._held[address] += 1
        self._tell()
        return True

    def leave(self, connection: Connection) -> None:
        """Forgets a connection that ended."""
        address = connection.address
        self.wait(connection, None)
        self._held[address] -= 1
        if self._held[address] <= 0:
            del self._held[address]
        self._tell()

    def _tell(self) -> None:
        if self._place is not None:
            self._place.hold(self._held.total())

    def wait(self, connection: Connection, what: str | None) -> None:
        """Notes what a connection waits for: `half` a request, `idle`, or None."""
        places = {"half": self._half_sent, "idle": self._idle}
        for name, waiting in places.items():
            mine = waiting[connection.address]
            if name == what:
                mine.setdefault(connection)
            else:
                mine.pop(connection, None)
            if not mine:
                del waiting[connection.address]

    def _drop_one(self, address: str) -> bool:
        for waiting in (self._half_sent, self._idle):
            if address in waiting:
                next(iter(waiting[address])).drop()
                return True
        return False


class Connection(H11Protocol):
    """A client's connection, with its deadline."""

    def __init__(self, crowd: Crowd, tls: ssl.SSLContext | None, **given: Any) -> None:
        super().__init__(**given)
        self._crowd = crowd
        self._tls = tls
        self._inside = False
        self._open = False
        self._opening: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._stage: str | None = None
        self._unwanted = 0
        self.address = "?"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts a connection, then opens it."""
        if not self._inside:
            self.address = _address(transport)
            self._raw = transport
            if not self._crowd.enter(self):
                transport.abort()
                return
            self._inside = True
            self._begin("head", self._crowd.limits.head)
            if self._tls is not None:
                transport.pause_reading()
                self._opening = self.loop.create_task(self._open_tls(transport, self._tls))
                return
        self._open = True
        super().connection_made(transport)

    async def _open_tls(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        try:
            opened = await self.loop.start_tls(
                transport, self, context, server_side=True,
                ssl_handshake_timeout=self._crowd.limits.head,
            )  # fmt: skip
        except (OSError, ssl.SSLError):  # no TLS, or gone
            opened = None
        if opened is None:
            self._end()
            return
        self._open = True
        super().connection_made(opened)
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place free."""
        self._end()
        if self._open:
            super().connection_lost(exc)

    def _end(self) -> None:
        if self._inside:
            self._inside = False
            self._begin(None)
            self._crowd.leave(self)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of a request."""
        if not self._open:
            self._early.append(data)
            return
        if self._stage == "linger":
            self._unwanted += len(data)
            if self._unwanted > _UNWANTED:
                self.drop()
                return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Waits for the next request, for not too long."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Waits for the client to read, for not too long."""
        super().pause_writing()
        self._begin("response", self._crowd.limits.response)

    def resume_writing(self) -> None:
        """Goes on writing."""
        super().resume_writing()
        self._stage = None
        self._watch()

    def _watch(self) -> None:
        """Sets the deadline of what the connection waits for now."""
        limits, cycle = self._crowd.limits, self.cycle
        if self.transport.is_closing():
            self._begin(None)
        elif cycle is not None and not cycle.response_complete:
            if cycle.more_body:
                self._begin("body", limits.body)
            elif self._stage != "response":
                self._begin(None)
        elif cycle is not None and cycle.more_body:
            self._begin("linger", limits.linger)
        elif self.conn.trailing_data[0] or cycle is None:
            self._begin("head", limits.head)
        else:
            self._begin("idle", limits.idle)

    def _begin(self, stage: str | None, seconds: float | None = None) -> None:
        if stage is not None and stage == self._stage:
            return  # bytes that drip in do not extend a time
        self._stage = stage
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.drop)
        self._crowd.wait(self, stage if stage in (None, "idle") else "half")

    def shutdown(self) -> None:
        """Finishes the request in hand when the server stops, but awaits nothing of a client."""
        if self._stage in ("body", "linger"):
            self.drop()
        else:
            super().shutdown()

    def drop(self) -> None:
        """Ends the connection at once; a request that is not complete is answered by 408."""
        transport, stage = self.transport if self._open else self._raw, self._stage
        self._end()
        answered = self.cycle is not None and self.cycle.response_started
        if stage in ("head", "body") and not answered and self._open:
            transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                            b"Content-Length: 0\r\n\r\n")  # fmt: skip
            if self.conn.our_state is not h11.ERROR:
                self.conn.send_failed()
            transport.close()
        if transport.get_write_buffer_size() or not transport.is_closing():
            transport.abort()


def _address(transport: asyncio.Transport) -> str:
    """Returns a client's address; of IPv6 the network, which one client has to itself."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return "local"
    host = str(peer[0])
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host


class _Server(uvicorn.Server):
    place: Place | None = None  # among several processes
    _accepting: tuple[asyncio.Task[None], ...] = ()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens; many may wait, but few are accepted and answered at a time."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        if self.place is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._share(self.place, sockets or [])
        for sock in sockets or ():
            sock.listen(_QUEUE)

    def _share(self, place: Place, sockets: list[socket.socket]) -> None:
        """Accepts in turns with other processes, and stops when the first of them is gone."""
        loop = asyncio.get_running_loop()
        loop.add_reader(place.parent, self._left_alone, place.parent)
        kind: Any = self.config.http_protocol_class
        state = {"server_state": self.server_state, "app_state": self.lifespan.state}
        protocol = partial(kind, config=self.config, **state)
        self._accepting = tuple(
            loop.create_task(accept_in_turns(sock, place, protocol)) for sock in sockets
        )
        for task in self._accepting:
            task.add_done_callback(self._accepts_no_more)

    def _left_alone(self, parent: int) -> None:
        self.should_exit = True
        asyncio.get_running_loop().remove_reader(parent)

    def _accepts_no_more(self, task: asyncio.Task[None]) -> None:
        self.should_exit = True  # should it ever fail, another process takes this one's place
        if not task.cancelled() and (error := task.exception()) is not None:
            told = {"message": "accepting connections failed", "exception": error}
            task.get_loop().call_exception_handler(told)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts nothing any more, then finishes what is in hand."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)


def listen(options: ServeOptions) -> socket.socket:
    """Returns a socket at the address to serve."""
    host = options.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, options.port), family=family, backlog=_QUEUE)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{options.port}: {error.strerror}") from None


def tls_context(options: ServeOptions) -> ssl.SSLContext | None:
    """Returns the TLS settings, or None without a certificate."""
    if options.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or "not a certificate with its key"
        raise UsageError(f"--certificate {options.certificate}: cannot be used: {why}") from None
    return context


def build_server(
    app: ASGIApp,
    *,
    proxies: str | None = None,
    sso_header: str | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    place: Place | None = None,
) -> uvicorn.Server:
    """Builds the server of an application; `run(sockets=[…])` serves until interrupted.

    One of several processes has a `place` among them, and shares the connections with them.
    """
    if proxies is not None:
        app = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", app), proxies))
        if sso_header is not None:
            app = SingleSignOn(app, sso_header, proxies)
    limits = limits or Limits()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = limits._replace(total=max(64, min(limits.total, files - _SPARE_FILES)))
    trusted = frozenset(part.strip() for part in (proxies or "").split(","))
    protocol: Any = partial(Connection, Crowd(limits, trusted, place), tls)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="error",  # what clients do wrong fills no log
        access_log=False,  # paths hold personal links
        server_header=False,
        date_header=False,
        proxy_headers=False,  # they are read above
        backlog=_ACCEPT,
        timeout_keep_alive=int(limits.idle),
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    server.place = place
    return server
