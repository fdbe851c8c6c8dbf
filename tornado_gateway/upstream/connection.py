"""One connection to Ollama: a protocol on the loop's own transport that carries one transfer at a time.

Between transfers it lies in the pool, still listening: a byte or an end that comes then means that it is not used again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from tornado_gateway.errors import GatewayError, UpstreamClosed
from tornado_gateway.upstream.response import ResponseReader
from tornado_gateway.upstream.target import Origin

_JOINED_BELOW = 64 * 1024
"""Bodies up to this size are copied behind their head: one write and one packet. Larger ones are not copied."""


class Load(Protocol):
    """What a connection carries: the transfer, as the connection sees it."""

    heard: bool

    def receive(self, reader: ResponseReader) -> None:
        """Take the pieces of the body that have come. May abort the connection."""
        ...

    def complete(self, reader: ResponseReader) -> None:
        """The response is whole."""
        ...

    def fail(self, error: GatewayError) -> None:
        """There will be no whole response."""
        ...


class Connection(asyncio.Protocol):
    """`made` is told when its socket is taken over, `released` gets it back after each clean end, `lost` when it is closed."""

    __slots__ = ("_load", "_lost", "_made", "_paused", "_reader", "_released", "idle_since", "origin", "socket", "transport")

    def __init__(
        self,
        origin: Origin,
        made: Callable[[Connection], None],
        released: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.origin = origin
        self.transport: asyncio.Transport | None = None
        self.socket: socket.socket | None = None
        self.idle_since = 0.0
        self._made = made
        self._released = released
        self._lost = lost
        self._paused = False
        self._load: Load | None = None
        self._reader: ResponseReader | None = None

    def send(self, load: Load, head: bytes, body: bytes, *, without_body: bool) -> None:
        """Write a request and give what comes to `load`."""
        assert self.transport is not None  # noqa: S101  # connections are handed out once they are made
        self._load = load
        self._reader = ResponseReader(without_body=without_body)
        if len(body) < _JOINED_BELOW:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    def usable(self) -> bool:
        """Whether a request may be written: open, and nothing has come, not even what the loop has yet to read.

        A request that is written on a connection whose end was already waiting would be lost and not sent again.
        """
        if self.transport is None or self.socket is None or self.transport.is_closing():
            return False
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def pause(self) -> None:
        """Stop reading: the kernel's buffers fill up, and Ollama waits."""
        if self.transport is not None and not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and self._paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._paused = False

    def abort(self) -> None:
        """Close at once, whatever is under way: this is what stops Ollama. The transfer is not told."""
        self._detach()
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by class, only by what they do.
        self.transport = cast("asyncio.Transport", transport)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        load, reader = self._load, self._reader
        if load is None or reader is None:
            # Bytes that nobody asked for: whoever came next would take them for the answer.
            self.abort()
            return
        load.heard = True
        reader.feed(data)
        if reader.pieces:
            load.receive(reader)
            if self._load is not load:
                return
        if reader.ended:
            self._end(load, reader)
        elif reader.fault is not None:
            self.abort()
            load.fail(reader.fault)

    def connection_lost(self, exc: Exception | None) -> None:
        load = self._load
        self._detach()
        self._lost(self)
        if load is not None:
            error = UpstreamClosed("Ollama closed the connection before its answer was whole.")
            error.__cause__ = exc
            load.fail(error)

    def _end(self, load: Load, reader: ResponseReader) -> None:
        transport = self.transport
        assert transport is not None  # noqa: S101  # data came through it
        # An answer that came before the whole request was read leaves bytes that the next answer would follow.
        clean = reader.clean and not transport.is_closing() and not transport.get_write_buffer_size()
        self._detach()
        if clean:
            # What a paused one receives in the pool would never be seen.
            self.resume()
            self._released(self)
        else:
            self.abort()
        load.complete(reader)

    def _detach(self) -> None:
        self._load = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
