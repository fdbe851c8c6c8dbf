"""Clients that leave are seen, whatever they sent before."""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from tornado_gateway.presence import watcher

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        yield client, accepted
        client.close()
        accepted.close()


async def seen_after(pair: Pair, leave: object) -> bool:
    client, accepted = pair
    presence = watcher()
    gone = asyncio.Event()
    presence.watch(accepted.fileno(), gone.set)
    try:
        leave(client)  # type: ignore[operator]
        async with asyncio.timeout(2):
            await gone.wait()
        return True
    finally:
        presence.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def stray_byte(client: socket.socket) -> None:
    client.sendall(b"x")
    client.close()


@pytest.mark.parametrize("leave", [socket.socket.close, reset, half_close, stray_byte])
async def test_c25_each_way_to_leave_is_seen(pair: Pair, leave: object) -> None:
    assert await seen_after(pair, leave)


async def test_bytes_alone_are_not_a_leaving(pair: Pair) -> None:
    client, accepted = pair
    presence = watcher()
    gone = asyncio.Event()
    presence.watch(accepted.fileno(), gone.set)

    client.sendall(b"more")
    accepted.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(accepted, 1) == b"m"

    assert not gone.is_set()
    presence.close()


async def test_a_watch_that_ended_is_silent_and_leaves_a_later_one_alone(pair: Pair) -> None:
    client, accepted = pair
    presence = watcher()
    first, second = asyncio.Event(), asyncio.Event()
    presence.watch(accepted.fileno(), first.set)
    presence.watch(accepted.fileno(), second.set)

    presence.forget(accepted.fileno(), first.set)
    client.close()
    async with asyncio.timeout(2):
        await second.wait()

    assert not first.is_set()
    presence.close()
