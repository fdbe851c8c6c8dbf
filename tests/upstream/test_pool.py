from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from upstream.raw import WITHIN, Peer, RawServer, Serve

from tornado_gateway.upstream.addresses import connected_socket
from tornado_gateway.upstream.connection import Connection
from tornado_gateway.upstream.pool import Pool
from tornado_gateway.upstream.target import Origin
from tornado_gateway.upstream.timers import Clock


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    clock = Clock(asyncio.get_running_loop(), 0.01)
    yield clock
    clock.stop()


async def connected(server: RawServer, lost: Callable[[Connection], None]) -> Connection:
    origin: Origin = (False, "127.0.0.1", server.port)
    connection = Connection(origin, lambda _: None, lambda _: None, lost)
    connection.socket = await connected_socket("127.0.0.1", server.port)
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=connection.socket)
    return connection


async def test_the_last_one_used_is_taken_first_and_each_once(serve: Serve, clock: Clock) -> None:
    server = await serve(Peer.gone)
    pool = Pool(clock)
    first, second = [await connected(server, pool.discard) for _ in range(2)]
    pool.put(first, 0)
    pool.put(second, 0)

    assert [pool.take(first.origin), pool.take(first.origin), pool.take(first.origin)] == [second, first, None]

    first.abort()
    second.abort()


async def test_another_origin_gets_none(serve: Serve, clock: Clock) -> None:
    server = await serve(Peer.gone)
    pool = Pool(clock)
    pool.put(await connected(server, pool.discard), 0)

    assert pool.take((True, "127.0.0.1", server.port)) is None

    pool.close()
    await server.until(lambda server: server.closed == 1)


async def test_it_holds_few_and_lets_the_oldest_go(serve: Serve, clock: Clock) -> None:
    server = await serve(Peer.gone)
    pool = Pool(clock, max_idle=2)
    connections = [await connected(server, pool.discard) for _ in range(3)]
    for connection in connections:
        pool.put(connection, 0)

    await server.until(lambda server: server.closed == 1)
    assert len(pool) == 2
    assert not connections[0].usable()

    pool.close()


async def test_it_holds_none_for_long(serve: Serve, clock: Clock) -> None:
    server = await serve(Peer.gone)
    pool = Pool(clock, idle_seconds=0.05)
    pool.put(await connected(server, pool.discard), asyncio.get_running_loop().time())

    await server.until(lambda server: server.closed == 1)

    assert len(pool) == 0


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
async def test_one_that_was_closed_while_idle_leaves_it(serve: Serve, clock: Clock, leave: Callable[[Peer], None]) -> None:
    async def go_when_told(peer: Peer) -> None:
        await told.wait()
        leave(peer)

    told = asyncio.Event()
    server = await serve(go_when_told)
    gone = asyncio.Event()
    pool = Pool(clock)

    def lost(connection: Connection) -> None:
        pool.discard(connection)
        gone.set()

    pool.put(await connected(server, lost), 0)
    told.set()

    async with asyncio.timeout(WITHIN):
        await gone.wait()
    assert len(pool) == 0
