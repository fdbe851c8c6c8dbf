"""C25 to C28: a client that leaves stops Ollama, however it leaves and whatever the request was waiting for."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable

import pytest
from faults.oracles import AUTH, KEY, Served, chat_request, serving

from tornado_gateway.testing import Behaviour, FakeOllama, hang

BODY = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}
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


async def until(true: Callable[[], bool], limit: float = 5) -> None:
    """Wait for what has no event of its own, turn by turn of the loop."""
    async with asyncio.timeout(limit):
        while not true():  # noqa: ASYNC110  # conditions of a whole process have no event
            await asyncio.sleep(0.001)
