from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable

import pytest
from upstream.raw import WITHIN, Peer, Serve

from tornado_gateway.upstream.addresses import Address, connected_socket, first_connected


def at(port: int, host: str = "127.0.0.1") -> Address:
    return Address(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))


async def test_an_address_needs_no_resolver(serve: Serve) -> None:
    server = await serve(Peer.gone)

    with await connected_socket("127.0.0.1", server.port) as sock:
        assert sock.getpeername() == ("127.0.0.1", server.port)
        assert not sock.getblocking()


async def test_a_refused_address_gives_way_at_once(serve: Serve, free_port: int) -> None:
    server = await serve(Peer.gone)
    loop = asyncio.get_running_loop()
    began = loop.time()

    with await first_connected([at(free_port, "::1"), at(free_port), at(server.port)]) as sock:
        assert sock.getpeername()[1] == server.port

    assert loop.time() - began < 0.2


async def test_a_silent_address_does_not_keep_the_next_one_waiting(
    serve: Serve, black_hole: int, open_sockets: Callable[[], list[int]]
) -> None:
    server = await serve(Peer.gone)
    before = open_sockets().count(0)

    async with asyncio.timeout(WITHIN):
        with await first_connected([at(black_hole), at(server.port)]) as sock:
            assert sock.getpeername()[1] == server.port

    await asyncio.sleep(0)
    assert open_sockets().count(0) == before


async def test_when_all_refuse_so_does_this(free_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await first_connected([at(free_port, "::1"), at(free_port)])


async def test_c29_cancelled_at_any_instant_it_leaves_no_socket(
    serve: Serve, free_port: int, open_sockets: Callable[[], list[int]]
) -> None:
    server = await serve(Peer.gone)
    addresses = [at(free_port), at(server.port), at(server.port)]
    chance = random.Random(7)
    loop = asyncio.get_running_loop()

    for _ in range(300):
        tasks = [loop.create_task(first_connected(addresses)) for _ in range(5)]
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()
        await asyncio.sleep(0)

    assert server.port not in open_sockets()
