"""C25 to C28: a client that leaves stops Ollama, however it leaves and whatever the request was waiting for."""

import asyncio
import json
import random
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from faults.deep import DEEP
from faults.oracles import AUTH, KEY, Served, chat_request, serving, until

from tornado_gateway.testing import Behaviour, FakeOllama, Ledger, RequestEntry, hang

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}
ANOTHER = chat_request(json.dumps(BODY).encode())
SLOW = Behaviour(tokens=10_000, tokens_per_second=50)
Leave = Callable[[socket.socket], None]


def fin(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def fin_after_a_stray_byte(client: socket.socket) -> None:
    client.sendall(b"\r")
    client.close()


def fin_after_another_request(client: socket.socket) -> None:
    client.sendall(chat_request(json.dumps(BODY).encode()))
    client.close()


WAYS = [fin, reset, half_close, fin_after_a_stray_byte, fin_after_another_request]
PHASES = {
    "waiting for the first byte": (hang(), True),
    "mid-stream": (SLOW, True),
    "not streamed": (hang(), False),
}


def unread(peer: Any) -> bool:
    """Whether bytes of the client's have come that nobody has looked at."""
    return bool(peer._unread)


def asking(served: Served, *, stream: bool) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", served.port))
    client.sendall(chat_request(json.dumps({**BODY, "stream": stream}).encode()))
    return client


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", PHASES)
async def test_c25_c26_c27_leaving_stops_ollama(phase: str, way: Leave) -> None:
    behaviour, stream = PHASES[phase]
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        ollama.next(behaviour)
        client = asking(served, stream=stream)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference)
        if phase == "mid-stream":
            client.settimeout(5)
            assert await asyncio.to_thread(client.recv, 1)

        way(client)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference[0].left_at is not None, timeout=2)

        await asyncio.wait_for(served.gateway.services.idle.wait(), 2)
        assert len(ollama.ledger.inference) == 1
        client.close()


@pytest.mark.parametrize("way", [fin, reset, half_close])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("more", [b"\r", ANOTHER, ANOTHER * 1000], ids=["a byte", "a request", "more than is read"])
async def test_c25_c27_leaving_is_seen_behind_bytes_that_were_read_before(more: bytes, stream: bool, way: Leave) -> None:
    """Tornado alone is blind from the byte on: nothing asks the socket again until the answer is written.

    The last lies unread in the kernel, where no event loop that has stopped reading would look.
    """
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        ollama.next(hang())
        client = asking(served, stream=stream)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference)
        client.sendall(more)
        await until(lambda: any(unread(request.peer) for request in served.gateway.services.at_work))

        way(client)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference[0].left_at is not None, timeout=2)

        await asyncio.wait_for(served.gateway.services.idle.wait(), 2)
        assert len(ollama.ledger.inference) == 1
        client.close()


async def test_c25_c26_leaving_is_seen_within_100_ms() -> None:
    """The 99th of a hundred in the full form, which has the machine to itself; here the median."""
    chance, lags = random.Random(25), []
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        for number in range(1000 if DEEP else 40):
            ollama.next(chance.choice([hang(), SLOW]))
            client = asking(served, stream=chance.random() < 0.7)
            await ollama.ledger.wait_for(partial(_asked_more_than, number))
            way, left = chance.choice(WAYS), time.monotonic()

            way(client)
            entry = ollama.ledger.inference[-1]
            await ollama.ledger.wait_for(partial(_left, entry), timeout=2)

            lags.append((entry.left_at or 0) - left)
            client.close()
    assert sorted(lags)[int(len(lags) * (0.99 if DEEP else 0.5))] < 0.1


def _asked_more_than(number: int, ledger: Ledger) -> bool:
    return len(ledger.inference) > number


def _left(entry: RequestEntry, _: Ledger) -> bool:
    return entry.left_at is not None


@pytest.mark.parametrize("way", WAYS)
async def test_c28_leaving_the_line_means_never_being_sent(way: Leave) -> None:
    limits = {"rate_limit": {"requests_per_minute": None, "max_concurrent": 1, "max_wait_seconds": 30}}
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[AUTH, limits]) as served:
        ollama.next(SLOW)
        first = asking(served, stream=True)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference)
        second = asking(served, stream=True)
        await until(lambda: len(served.gateway.services.at_work) == 2)

        way(second)
        await until(lambda: len(served.gateway.services.at_work) == 1)

        fin(first)
        await asyncio.wait_for(served.gateway.services.idle.wait(), 2)
        assert len(ollama.ledger.inference) == 1
        second.close()


async def test_a_key_is_needed_to_wait_at_all() -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        answer = await served.raw(chat_request(json.dumps(BODY).encode(), key=KEY + "x"))

        assert b" 401 " in answer
        assert not ollama.ledger.inference
