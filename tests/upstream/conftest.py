"""Every test of the upstream talks to a raw server on a real socket, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack

import pytest
import uvloop
from upstream.raw import RawServer, Script, Serve


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Their transports are different code."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(
            script: Script, *, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
        ) -> RawServer:
            server = RawServer(script)
            listener = await asyncio.start_server(server.serve, host, port, ssl=context, limit=2**20)
            stack.push_async_callback(server.stop)
            stack.callback(listener.close)
            server.port = listener.sockets[0].getsockname()[1]
            name = f"[{host}]" if ":" in host else host
            server.url = f"{'http' if context is None else 'https'}://{name}:{server.port}"
            return server

        yield start


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that answers no SYN: its queue of connections that wait to be accepted is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            waiting.append(sock)
        yield port
        for sock in waiting:
            sock.close()


@pytest.fixture
def open_sockets() -> Callable[[], list[int]]:
    """The port at the other end of each of this process's sockets, 0 where there is none.

    Asked of the descriptors: the kernel's own list (/proc/net/tcp) may miss some when other programs are busy.
    """

    def ports() -> list[int]:
        return [port for name in os.listdir("/dev/fd") if (port := _peer_port(int(name))) is not None]  # noqa: PTH208

    return ports


def _peer_port(descriptor: int) -> int | None:
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    with sock:
        try:
            name = sock.getpeername()
        except OSError:
            return 0
        return int(name[1]) if isinstance(name, tuple) else 0
