"""The sockets that clients connect to: how many connections there may be, and what happens at the limit of open files.

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
from typing import Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import ssl_wrap_socket

from tornado_gateway.errors import Overloaded
from tornado_gateway.handlers.clientstream import ClientStream, SecureClientStream, StrictStream
from tornado_gateway.handlers.reply import error_answer
from tornado_gateway.log import get_logger

_ACCEPTED_AT_ONCE = 64
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 0.25
_QUIET_SECONDS = 5.0
_SWEEP_SECONDS = 0.5

_log = get_logger(__name__)


class Listener(HTTPServer):
    """Tornado's server behind an accept loop of its own.

    `most` connections in all, `most_per_address` for one address; `max_header_bytes` for a request's head; `head_seconds` for a request's head to arrive, `idle_seconds` for an
    idle connection to stay.
    """

    def initialize(  # type: ignore[override]  # built here only, with bounds that Tornado does not know
        self,
        *args: Any,
        most: int,
        most_per_address: int,
        max_header_bytes: int,
        head_seconds: float,
        idle_seconds: float,
        tls: ssl.SSLContext | None,
        **kwargs: Any,
    ) -> None:
        super().initialize(*args, **kwargs)
        # The sweep below keeps these times: a timer of Tornado's for each head and each body costs more than reading them.
        self.conn_params.header_timeout = None
        self.conn_params.body_timeout = None
        self._most = most
        self._most_per_address = most_per_address
        self._max_header_bytes = max_header_bytes
        self._tls = tls
        self._head_seconds = head_seconds
        self._idle_seconds = idle_seconds
        self._sweep_every = max(0.05, min(_SWEEP_SECONDS, head_seconds / 4, idle_seconds / 4))
        self._sweeping: asyncio.TimerHandle | None = None
        self._listening: list[socket.socket] = []
        self._addresses: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
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

    def _sweep(self) -> None:
        """Close what has been silent for too long: one timer for all connections, not one for each request."""
        now = time.monotonic()
        for connection in list(self._connections):
            stream = connection.stream
            if isinstance(stream, StrictStream) and stream.overdue(now, self._head_seconds, self._idle_seconds):
                stream.close()
        if self._connections or self._listening:
            self._sweeping = self._loop.call_later(self._sweep_every, self._sweep)

    def close_idle(self, busy: set[IOStream]) -> None:
        """Close the connections on which no request is at work."""
        for connection in list(self._connections):
            if connection.stream not in busy:
                connection.stream.close()

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        if isinstance(server_conn, HTTP1ServerConnection):
            peer = _peer(getattr(server_conn.context, "address", None))
            self._addresses[peer] -= 1
            if self._addresses[peer] <= 0:
                del self._addresses[peer]

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS:
                    raise
                self._pause(listening, error)
                return
            peer = _peer(address)
            if len(self._connections) >= self._most or self._addresses[peer] >= self._most_per_address:
                self._turn_away(connection)
            else:
                self._serve(connection, address, peer)

    def _serve(self, connection: socket.socket, address: Any, peer: str) -> None:
        connection.setblocking(False)
        sizes = {"max_buffer_size": self.max_buffer_size, "read_chunk_size": self.read_chunk_size}
        stream: IOStream
        if self._tls is None:
            stream = ClientStream(connection, max_header_bytes=self._max_header_bytes, **sizes)
        else:
            wrapped = ssl_wrap_socket(connection, self._tls, server_side=True, do_handshake_on_connect=False)
            stream = SecureClientStream(wrapped, max_header_bytes=self._max_header_bytes, **sizes)
        self._addresses[peer] += 1
        self.handle_stream(stream, address)

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
        """No descriptor is free: stop asking for a moment, since the socket stays readable and would be asked without end."""
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


def _peer(address: Any) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else ""
