"""Accepting connections in turns: of several processes, the one that holds fewest takes the next.

All processes accept from one socket, and whoever is first at it takes a connection. Left to chance,
one process can have twice as many as another for as long as they are kept alive, and its people
wait twice as long. So a process that holds more than another leaves a new connection to it, but
only for a moment: the other may be stuck.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

from flames.annotation.web.processes import Place

_LOOK = 0.005  # seconds until it is seen whether another process has taken the connection
_PATIENCE = 0.5  # seconds without a change after which the others count as stuck
_NO_FILES = 1.0  # seconds until the next try when there are no files left


async def accept_in_turns(
    sock: socket.socket, place: Place, protocol: Callable[[], asyncio.Protocol]
) -> None:
    """Accepts connections from a socket of several processes, until cancelled."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    stuck: tuple[int, ...] | None = None  # the others' connections when they took none
    place.open()
    try:
        while True:
            await _readable(sock)
            stuck = await _leave_to_others(sock, place, stuck)
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue  # another process took it, or the client went away
            except OSError as error:
                told = {"message": "a connection could not be accepted", "exception": error}
                loop.call_exception_handler(told)
                await asyncio.sleep(_NO_FILES)
                continue
            try:
                await loop.connect_accepted_socket(protocol, connection)
            except OSError:  # it ended meanwhile
                connection.close()
    finally:
        place.close()


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


async def _leave_to_others(
    sock: socket.socket, place: Place, stuck: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Waits while another process that holds fewer may take a connection.

    Returns the others' connections if they take none and are not to be waited for until that
    changes.
    """
    loop, poll = asyncio.get_running_loop(), select.poll()
    poll.register(sock, select.POLLIN)
    others, until = place.others(), loop.time() + _PATIENCE
    while others != stuck and place.held > min(others, default=place.held):
        await asyncio.sleep(_LOOK)
        if not poll.poll(0):
            return None
        now = place.others()
        if now != others:
            others, until = now, loop.time() + _PATIENCE
        elif loop.time() > until:
            return others
    return stuck if others == stuck else None
