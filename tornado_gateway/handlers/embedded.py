"""A connection of somebody else's Tornado server, in which the gateway's routes are mounted, as a `Peer`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from tornado_gateway.handlers.peer import STRANGER_SECONDS, Peer, ReaderStalled, linger_bounds
from tornado_gateway.presence import Presence

_READ_BYTES = 64 * 1024


def peer_of(request: HTTPServerRequest) -> Peer:
    """The connection that a request came by: one of ours, or that of the Tornado server in which the routes are mounted."""
    connection = request.connection
    if not isinstance(connection, HTTP1Connection):
        return cast(Peer, connection)
    if request.headers.get("Expect", "").lower() == "100-continue":
        request.headers["Expect"] = "100-continue"  # the only spelling that Tornado answers, behind us
    return TornadoPeer(connection)


class TornadoPeer:
    """One request's view of Tornado's connection."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self._stream = connection.stream
        self._pending: asyncio.Future[None] | None = None
        """Done when the kernel has taken all that was written, or the connection is closed."""
        self._socket = -1
        if not self._stream.closed():
            self._socket = self._stream.socket.fileno()
            # A token is a small packet: it must not wait for the acknowledgement of the one before it.
            self._stream.set_nodelay(True)

    @property
    def closed(self) -> bool:
        return self._stream.closed()

    @property
    def congested(self) -> bool:
        return self._stream.writing()

    def watch(self, presence: Presence, gone: Callable[[], None]) -> None:
        # One byte behind the request hides from Tornado that the client has left (docs/reliability.md).
        presence.watch(self._socket, gone)

    def forget(self, presence: Presence, gone: Callable[[], None]) -> None:
        presence.forget(self._socket, gone)

    def write(self, data: bytes) -> bool:
        self._connection.write(data)
        # The future of the latest write of the stream's. What `write` gives is one future for all that waits, of which a second write
        # loses the first; and the first, when it is through, ends the second's.
        self._pending = self._connection._pending_write
        return not self._stream.writing()

    async def drain(self, stall_seconds: float) -> None:
        while self._pending is not None and not self._pending.done():
            taken = self._stream._total_write_done_index  # progress that Tornado does not tell otherwise
            try:
                async with asyncio.timeout(stall_seconds):
                    await asyncio.shield(self._pending)
            except TimeoutError:
                if self._stream._total_write_done_index == taken:  # as above
                    raise ReaderStalled from None

    async def flush(self, seconds: float) -> None:
        with contextlib.suppress(StreamClosedError, TimeoutError):
            async with asyncio.timeout(seconds):
                while self._pending is not None and not self._pending.done():
                    await asyncio.shield(self._pending)

    def finish(self, *, keep_alive: bool) -> None:
        self._connection.finish()
        if keep_alive:
            return
        if self._pending is None or self._pending.done():
            self._stream.close()
        else:
            self._pending.add_done_callback(lambda _: self._stream.close())

    async def shut_sending(self) -> None:
        await self.flush(STRANGER_SECONDS)
        with contextlib.suppress(OSError, AttributeError):  # closed meanwhile: there is no socket any more
            self._stream.socket.shutdown(socket.SHUT_WR)

    async def linger(self, *, generous: bool) -> None:
        seconds, most = linger_bounds(generous=generous)
        dropped = 0
        with contextlib.suppress(StreamClosedError, TimeoutError):
            async with asyncio.timeout(seconds):
                while dropped < most:
                    dropped += len(await self._stream.read_bytes(_READ_BYTES, partial=True))
        self._connection.close()

    def close(self) -> None:
        self._connection.close()
