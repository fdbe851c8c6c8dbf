"""Closing so that the answer is read: a close with bytes unread is a reset, and a reset throws away what was sent.

As nginx does (`lingering_close`): after the answer the sending side is shut, and what still comes is read and dropped for a
while, within bounds that depend on how well the client is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError

_READ_BYTES = 64 * 1024
_STRANGER_BYTES = 64 * 1024
_STRANGER_SECONDS = 1.0
_KNOWN_BYTES = 256 * 1024 * 1024
_KNOWN_SECONDS = 10.0


def close_behind(stream: IOStream, written: asyncio.Future[None] | None) -> None:
    """Close once all that was written is on its way."""
    if written is None or written.done():
        stream.close()
    else:
        written.add_done_callback(lambda _: stream.close())


async def shut_sending(stream: IOStream) -> None:
    """Tell the client that nothing more comes, once all that was written is on its way."""
    with contextlib.suppress(StreamClosedError, TimeoutError, OSError):
        async with asyncio.timeout(_STRANGER_SECONDS):
            await stream.write(b"")
        stream.socket.shutdown(socket.SHUT_WR)


async def linger(connection: HTTP1Connection, *, generous: bool) -> None:
    """Wait until the client has read the answer and closed, then close; `generous` for clients with a right to upload."""
    stream = connection.stream
    seconds, most = (_KNOWN_SECONDS, _KNOWN_BYTES) if generous else (_STRANGER_SECONDS, _STRANGER_BYTES)
    dropped = 0
    with contextlib.suppress(StreamClosedError, TimeoutError):
        async with asyncio.timeout(seconds):
            while dropped < most:
                dropped += len(await stream.read_bytes(_READ_BYTES, partial=True))
    connection.close()
