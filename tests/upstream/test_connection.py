from __future__ import annotations

import asyncio
import select

import pytest
from upstream.raw import WITHIN, Peer, Serve, whole

from tornado_gateway.errors import GatewayError, UpstreamClosed, UpstreamInvalidResponse
from tornado_gateway.upstream.addresses import connected_socket
from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.response import ResponseReader


class Kept:
    """A load that keeps what it is told."""

    def __init__(self) -> None:
        self.heard = False
        self.body = b""
        self.over: asyncio.Future[GatewayError | None] = asyncio.get_running_loop().create_future()

    def receive(self, reader: ResponseReader) -> None:
        self.body += b"".join(reader.pieces)
        reader.pieces.clear()

    def complete(self, reader: ResponseReader) -> None:
        self.over.set_result(None)

    def fail(self, error: GatewayError) -> None:
        self.over.set_result(error)


class Seen:
    """One connection and what it told its owner."""

    def __init__(self, port: int) -> None:
        self.told: list[str] = []
        self.lost = asyncio.Event()
        self.connection = Connection((False, "127.0.0.1", port), self._made, self._released, self._lost)

    async def open(self) -> Connection:
        self.connection.socket = await connected_socket("127.0.0.1", self.connection.origin[2])
        await asyncio.get_running_loop().create_connection(lambda: self.connection, sock=self.connection.socket)
        return self.connection

    def _made(self, _: Connection) -> None:
        self.told.append("made")

    def _released(self, _: Connection) -> None:
        self.told.append("released")

    def _lost(self, _: Connection) -> None:
        self.told.append("lost")
        self.lost.set()


async def ask(connection: Connection) -> tuple[Kept, GatewayError | None]:
    load = Kept()
    connection.send(load, b"GET / HTTP/1.1\r\n\r\n", b"", without_body=False)
    async with asyncio.timeout(WITHIN):
        return load, await load.over


async def test_it_carries_one_answer_after_another(serve: Serve) -> None:
    async def twice(peer: Peer) -> None:
        for body in (b"one", b"two"):
            await peer.request()
            await peer.send(whole(body))

    server = await serve(twice)
    seen = Seen(server.port)
    connection = await seen.open()

    bodies = [(await ask(connection))[0].body for _ in range(2)]
    connection.abort()
    await seen.lost.wait()

    assert (bodies, seen.told) == ([b"one", b"two"], ["made", "released", "released", "lost"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"", UpstreamClosed), (b"garbage\r\n", UpstreamInvalidResponse), (whole(b"body")[:-1], UpstreamClosed)],
)
async def test_what_is_not_whole_is_a_failure_and_the_end(serve: Serve, answer: bytes, error: type[GatewayError]) -> None:
    async def leave(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.close()

    server = await serve(leave)
    seen = Seen(server.port)

    _, failure = await ask(await seen.open())
    await seen.lost.wait()

    assert (type(failure), seen.told) == (error, ["made", "lost"])


async def test_c04_it_is_not_usable_while_unread_bytes_wait(serve: Serve) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"unasked")

    server = await serve(talk)
    seen = Seen(server.port)
    connection = await seen.open()
    assert connection.usable()
    connection.pause()
    assert connection.transport is not None
    connection.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    assert connection.socket is not None
    await server.until(lambda server: server.sent == 7)
    select.select([connection.socket], [], [], WITHIN)

    assert not connection.usable()

    connection.resume()
    await seen.lost.wait()
    assert not connection.usable()
