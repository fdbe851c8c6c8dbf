"""A raw upstream on a real socket that does exactly what a test says, and knows when its peer went away."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import ssl
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from typing import Protocol

WITHIN = 5.0
"""Seconds: the limit of every wait. Nothing here takes so long when it works."""

RECORD = b'{"model":"m","message":{"role":"assistant","content":"%s"},"done":false}\n'
DONE = b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":2}\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A response of one transfer chunk a part."""
    return STREAM_HEAD + b"".join(map(chunk, parts)) + end


def whole(body: bytes, status: str = "200 OK", extra: bytes = b"") -> bytes:
    """A response with its length."""
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status.encode(), extra, len(body), body)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """One connection, from the upstream's side."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """The next request, whole."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        request = head + (await self._reader.readexactly(int(length[1])) if length else b"")
        self._server.note(request)
        return request

    async def anything(self) -> None:
        """Whatever comes first; it counts as a request."""
        self._server.note(await self._reader.read(65536))

    async def head(self) -> None:
        """A request's head; its body stays unread."""
        await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, *data: bytes) -> None:
        """Write each part by itself, as one segment as far as the kernel lets us."""
        for part in data:
            self._writer.write(part)
            await self._writer.drain()
            self._server.sent += len(part)

    async def received(self) -> None:
        """Wait until the kernel has delivered what was sent: an RST would overtake it."""
        sock = self._writer.get_extra_info("socket")
        async with asyncio.timeout(WITHIN):
            while _unread_by_peer(sock):  # noqa: ASYNC110  # the kernel sets no event
                await asyncio.sleep(0.001)

    async def gone(self) -> None:
        """Wait until the client has closed."""
        try:
            while await self._reader.read(65536):
                pass
        except OSError:
            pass

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Close with RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _unread_by_peer(sock: socket.socket) -> int:
    """Bytes that the other side's kernel has not acknowledged (TIOCOUTQ)."""
    left = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    return int.from_bytes(left, sys.byteorder)


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Counts connections, keeps requests, and tells when something changes."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []
        self.opened = 0
        self.closed = 0
        self.sent = 0
        self.port = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.opened += 1
        peer = Peer(self, reader, writer)
        try:
            await self._script(peer)
            await peer.gone()
        except (OSError, asyncio.IncompleteReadError, RuntimeError):
            pass  # the client has left; uvloop says so by a RuntimeError
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.transport.abort()
            self.closed += 1
            self._tell()

    def note(self, request: bytes) -> None:
        self.requests.append(request)
        self._tell()

    async def until(self, fact: Callable[[RawServer], bool]) -> None:
        """Wait until something is true of this server."""
        async with asyncio.timeout(WITHIN), self._changed:
            await self._changed.wait_for(lambda: fact(self))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.get_running_loop().create_task(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Serve(Protocol):
    """Starts an upstream whose every connection runs `script`."""

    async def __call__(
        self, script: Script, *, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
    ) -> RawServer: ...


def answering(*responses: bytes) -> Script:
    """A script that gives these responses to the requests of a connection, the last one again and again."""

    async def script(peer: Peer) -> None:
        position = 0
        while True:
            await peer.request()
            await peer.send(responses[min(position, len(responses) - 1)])
            position += 1

    return script
