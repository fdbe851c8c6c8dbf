"""The sockets that clients connect to: how many connections there may be, how long they may be silent, and what happens at the limit of open files.

Tornado's own accept loop has no cap, and at the descriptor limit it spins and writes a traceback for each turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tornado.web import Application

from tornado_gateway.downstream import ClientConnection, House
from tornado_gateway.errors import Overloaded
from tornado_gateway.handlers.reply import error_answer
from tornado_gateway.log import get_logger
from tornado_gateway.presence import Presence

_ACCEPTED_AT_ONCE = 64
_GONE_BEFORE = frozenset(
    getattr(errno, name, errno.ECONNABORTED)
    for name in (
        "ECONNABORTED",
        "EPERM",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "ENETUNREACH",
    )
)
"""Troubles of a connection that has not been accepted yet, a firewall's among them: accept(2) says that the next one is to be tried."""
_PAUSE_SECONDS = 0.25
_QUIET_SECONDS = 5.0
_SWEEP_SECONDS = 0.5
_FAREWELL_SECONDS = 10.0
"""How long a client with TLS may take to read the last of what is on its way, and to say that it has seen the end."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Connections in all and for one address; bytes of a request's head; seconds for a head to arrive, and for an idle connection to stay."""

    most: int
    most_per_address: int
    max_header_bytes: int
    head_seconds: float
    idle_seconds: float


class Listener:
    """Accepts connections for one application. Build it inside the running loop."""

    def __init__(self, application: Application, presence: Presence, bounds: Bounds, tls: ssl.SSLContext | None) -> None:
        self._bounds = bounds
        self._tls = tls
        self._house = House(application, presence, bounds.max_header_bytes, "http" if tls is None else "https", self._count_out)
        self._loop = asyncio.get_running_loop()
        self._sweep_every = max(0.05, min(_SWEEP_SECONDS, bounds.head_seconds / 4, bounds.idle_seconds / 4))
        self._sweeping: asyncio.TimerHandle | None = None
        self._listening: list[socket.socket] = []
        self._connections: set[ClientConnection] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        """For those of them that the loop is taking over; with TLS until hands are shaken."""
        self._addresses: Counter[str] = Counter()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._quiet_until = 0.0
        self._unsaid = 0

    def listen_at(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections at sockets that are bound and listening; they are closed by `stop_listening`."""
        for listening in sockets:
            listening.setblocking(False)
            self._listening.append(listening)
            self._loop.add_reader(listening.fileno(), self._accept, listening)
        if self._sweeping is None:
            self._sweep()

    def stop_listening(self) -> None:
        """Refuse connections from now on; those that stand go on."""
        while self._listening:
            listening = self._listening.pop()
            self._loop.remove_reader(listening.fileno())
            listening.close()

    def use_certificate(self, tls: ssl.SSLContext) -> None:
        """Show another certificate to those who connect from now on."""
        if self._tls is not None:
            self._tls = tls

    def close_idle(self) -> None:
        """Close the connections on which no request is at work."""
        for connection in list(self._connections):
            if not connection.busy:
                connection.abort()

    async def close_all_connections(self) -> None:
        """Close them at once, and wait until they are closed."""
        for task in self._beginning:
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        await self._none_open.wait()

    def _sweep(self) -> None:
        """Close what has been silent for too long: one timer for all connections, not one for each request."""
        now, bounds = time.monotonic(), self._bounds
        for connection in list(self._connections):
            if connection.overdue(now, bounds.head_seconds, bounds.idle_seconds):
                connection.abort()
        self._sweeping = None
        if self._connections or self._listening:
            self._sweeping = self._loop.call_later(self._sweep_every, self._sweep)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _GONE_BEFORE:
                    continue
                self._pause(listening, error)
                return
            client = str(address[0]) if isinstance(address, tuple) and address else ""
            if len(self._connections) >= self._bounds.most or self._addresses[client] >= self._bounds.most_per_address:
                self._turn_away(accepted)
            else:
                self._begin(accepted, client)

    def _begin(self, accepted: socket.socket, client: str) -> None:
        connection = ClientConnection(self._house, client)
        self._connections.add(connection)
        self._none_open.clear()
        self._addresses[client] += 1
        beginning = self._loop.create_task(self._hand_over(accepted, connection))
        self._beginning.add(beginning)
        beginning.add_done_callback(lambda task: self._begun(task, accepted, connection))

    def _begun(self, beginning: asyncio.Task[None], accepted: socket.socket, connection: ClientConnection) -> None:
        self._beginning.discard(beginning)
        failed = None if beginning.cancelled() else beginning.exception()
        if beginning.cancelled() or failed is not None:  # perhaps before it had a turn: nothing in the task itself would close
            accepted.close()
            self._count_out(connection)
        if failed is not None and not isinstance(failed, OSError):  # TLS's errors are among those, and are the client's fault
            raise failed

    async def _hand_over(self, accepted: socket.socket, connection: ClientConnection) -> None:
        """Hand a connection to the loop."""
        secure: dict[str, Any] = {}
        if self._tls is not None:
            secure = {
                "ssl": self._tls,
                "ssl_handshake_timeout": self._bounds.head_seconds,
                "ssl_shutdown_timeout": _FAREWELL_SECONDS,
            }
        accepted.setblocking(False)
        # A token is a small packet: it must not wait for the acknowledgement of the one before it.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.connect_accepted_socket(lambda: connection, accepted, **secure)

    def _count_out(self, connection: ClientConnection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._addresses[connection.client] -= 1
        if self._addresses[connection.client] <= 0:
            del self._addresses[connection.client]
        if not self._connections:
            self._none_open.set()

    def _turn_away(self, connection: socket.socket) -> None:
        """Say why, if it can be said without waiting, and close."""
        self._note("connections_refused", reason="connection limit")
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            if self._tls is None:
                full = Overloaded("The gateway has as many connections as it may have.", retry_after=1)
                connection.send(error_answer(full))
                connection.shutdown(socket.SHUT_WR)
        connection.close()

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """No descriptor is free, or there is no memory: stop asking for a moment, since the socket stays readable and would be asked without end."""
        self._note("connections_waiting", reason=os.strerror(error.errno or 0))
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(_PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _note(self, event: str, **facts: Any) -> None:
        """One line for many: under a flood of connections the log must not be one."""
        self._unsaid += 1
        now = self._loop.time()
        if now >= self._quiet_until:
            _log.warning(event, times=self._unsaid, **facts)
            self._quiet_until, self._unsaid = now + _QUIET_SECONDS, 0
