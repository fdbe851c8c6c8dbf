"""The way back to a client: what the handlers see of a connection (`Peer`), but for its next request, and every way in which it ends."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from typing import cast

from tornado.iostream import StreamClosedError

from tornado_gateway.handlers.peer import ReaderStalled, linger_bounds
from tornado_gateway.presence import Presence

_AT_ONCE_BYTES = 16 * 1024
"""What TLS is given at once: it would take all, and call nothing congested that it was given before the kernel took no more."""

_BYTES_ACKED = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` of Linux's `struct tcp_info` (include/uapi/linux/tcp.h)."""


class Sending(asyncio.Protocol):
    """A protocol that writes to the loop's own transport; what comes in is the subclass's work."""

    __slots__ = (
        "_behind_tls",
        "_close_callback",
        "_closed",
        "_cut",
        "_droppable",
        "_ending",
        "_full",
        "_kept",
        "_loop",
        "_moved",
        "_shut",
        "_timer",
        "_transport",
        "_waiters",
        "_written",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._shut = False
        """Whether the last word is written."""
        self._ending = False
        """Whether the connection ends when all that was written is on its way."""
        self._cut = False
        """Whether it ended before that."""
        self._droppable: int | None = None
        """How many more bytes are read and dropped before the end; None: what comes is wanted."""
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        """Whether the transport takes no more."""
        self._written = False
        """Whether anything has been written since the last request came."""
        self._behind_tls = False
        self._kept = bytearray()
        """What is kept back from TLS until then."""
        self._moved: asyncio.Future[None] | None = None
        """Done when what was written has been taken, or the connection has ended."""
        self._waiters = 0
        self._close_callback: Callable[[], None] | None = None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def congested(self) -> bool:
        return self._congested and not self._closed

    @property
    def _congested(self) -> bool:
        return self._full or bool(self._kept)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits until the client has taken what was written."""
        return self._waiters > 0

    @property
    def lingering(self) -> bool:
        """Whether nothing is read any more but to let the client read its answer; ends by itself."""
        return self._droppable is not None

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Tornado's way to hear that the client has left: once, while a request is at work."""
        self._close_callback = callback

    def watch(self, presence: Presence, gone: Callable[[], None]) -> None:
        """Nothing: the close callback misses nobody."""

    def forget(self, presence: Presence, gone: Callable[[], None]) -> None:
        """Nothing, as above."""

    def write(self, data: bytes) -> bool:
        if self._closed or self._shut or self._transport is None:
            return True
        self._written = True
        if self._behind_tls:
            self._kept += data
            self._give(self._transport)
            return not self.congested
        self._transport.write(data)
        return not self._full

    async def drain(self, stall_seconds: float) -> None:
        while self.congested:
            progress = self._progress()
            if not await self._movement(stall_seconds) and self._progress() == progress:
                raise ReaderStalled
        if self._cut:
            raise StreamClosedError

    async def flush(self, seconds: float) -> None:
        if self.congested:
            await self._movement(seconds)

    async def shut_sending(self) -> None:
        self._shut_sending()

    async def linger(self, *, generous: bool) -> None:
        if not self._closed:
            self._drop_what_comes(generous=generous)
        while not self._closed:
            await self._movement(None)

    def close(self) -> None:
        if not self.lingering:
            self.abort()

    def abort(self) -> None:
        """Close at once, lingering or not."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)
        self._behind_tls = transport.get_extra_info("sslcontext") is not None
        # Whatever the kernel does not take at once is back-pressure: nothing piles up here. Behind TLS 0 would be an empty buffer, too.
        self._transport.set_write_buffer_limits(high=1 if self._behind_tls else 0)
        if self._closed:
            self._transport.abort()

    def eof_received(self) -> None:
        # Who only shut down the sending side counts as gone, as for Ollama. The transport closes itself behind this.
        self._cut = True
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ending or self._kept or exc is not None:
            self._cut = True
        self._kept.clear()
        self._transport = None
        self._gone()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._transport is None:
            return
        self._give(self._transport)
        if not self._congested:
            if self._ending:
                self._transport.close()
            self._tell_moved()

    def _give(self, transport: asyncio.Transport) -> None:
        while self._kept and not self._full:
            piece = bytes(self._kept[:_AT_ONCE_BYTES])
            del self._kept[:_AT_ONCE_BYTES]
            transport.write(piece)

    def _end(self) -> None:
        """Close once all that was written is on its way; who waits for that sees to it that it does not take for ever."""
        self._ending = True
        # TLS would cut off what is not on its way in the time that the client has to say goodbye.
        if self._transport is not None and not (self._behind_tls and self._congested):
            self._transport.close()

    def _shut_sending(self) -> None:
        self._shut = True
        if not self._closed and self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _drop_what_comes(self, *, generous: bool) -> None:
        seconds, self._droppable = linger_bounds(generous=generous)
        self._timer = self._loop.call_later(seconds, self.abort)

    def _drop(self, count: int) -> None:
        self._droppable = (self._droppable or 0) - count
        if self._droppable < 0:
            self.abort()

    def _gone(self) -> None:
        self._closed = True
        self._tell_moved()
        self._tell_gone()

    def _tell_gone(self) -> None:
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            callback()

    def _waiting_bytes(self) -> int:
        """How much was written that the kernel has not taken."""
        return len(self._kept) + (0 if self._transport is None else self._transport.get_write_buffer_size())

    def _progress(self) -> int:
        """A number that stays the same for as long as the client takes nothing.

        What waits here says too little: others write meanwhile, and the kernel takes more only when a third of its buffer is free, which
        can be more than a megabyte. Where there is nothing else to ask, what others write counts, too; they write once and wait as well.
        """
        return _acknowledged(self._transport) or self._waiting_bytes()

    async def _movement(self, seconds: float | None) -> bool:
        """Whether, within this time, what was written has been taken, or the connection has ended."""
        if self._moved is None or self._moved.done():
            self._moved = self._loop.create_future()
        self._waiters += 1
        try:
            # Not awaited itself: whose time is over, or who is cancelled, would cancel it for all who wait.
            moved, _ = await asyncio.wait([self._moved], timeout=seconds)
        finally:
            self._waiters -= 1
        return bool(moved)

    def _tell_moved(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)


def _acknowledged(transport: asyncio.Transport | None) -> int:
    """How many bytes the client's kernel has taken since the connection began; 0 where ours does not say."""
    if sys.platform != "linux" or transport is None:
        return 0
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
        acknowledged: int = _BYTES_ACKED.unpack(info)[0]
    except (OSError, struct.error):  # no TCP, or a kernel older than the field
        return 0
    return acknowledged
