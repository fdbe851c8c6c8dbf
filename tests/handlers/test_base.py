"""What every request has in common."""

import asyncio
import gc
import json
import socket
import struct
from collections import Counter
from typing import Any

import pytest
from faults.oracles import until
from serving import AUTH, chat_request, serving

from tornado_gateway.hookspecs import Context, Outcome, Overloaded, hookimpl
from tornado_gateway.testing import Behaviour, FakeOllama

PLUGINS = [AUTH, {"rate_limit": {"requests_per_minute": None}}, "cache"]


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, stream: bool) -> None:
    body = {"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": f"{number}"}]}
    writer.write(chat_request(json.dumps(body).encode()))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head
    if stream:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_leaves_nothing_to_the_garbage_collector(stream: bool) -> None:
    """Cycles would cost a tenth of a request's CPU, since the collector looks through the whole process for them."""
    async with FakeOllama() as ollama, serving(ollama.url, plugins=PLUGINS) as served:
        connection = await served.connect()
        for number in range(5):
            await ask(*connection, number, stream=stream)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(20):
                await ask(*connection, 100 + number, stream=stream)
            gc.collect()
            left = Counter(type(item).__name__ for item in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            connection[1].close()

        assert not {name: count for name, count in left.items() if count >= 20}


class FailsWhenTold:
    """Refuses every call but the first, when it is told to, and notes how requests end."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.ended: list[tuple[str, str | None]] = []
        self._calls = 0

    @hookimpl
    async def dispatch(self) -> None:
        self._calls += 1
        if self._calls > 1:
            await self.told.wait()
            raise Overloaded("Told to.")

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        self.ended.append((outcome.ended, outcome.error))


@pytest.mark.parametrize("way", ["leaves", "drains"])
async def test_an_end_that_has_begun_is_not_ended_once_more(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The last words of a stream wait for a reader that takes nothing, when its client leaves or the server stops."""
    plugin = FailsWhenTold()
    monkeypatch.setattr("tornado_gateway.app.build_plugins", lambda _: [("mine", plugin)])
    async with FakeOllama() as ollama, serving(ollama.url, plugins=[]) as served:
        ollama.next(Behaviour(pieces=["x" * 1000] * 30_000))
        services = served.gateway.services
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.connect(("127.0.0.1", served.port))
            body = {"model": "llama3.2", "stream": True, "n": 2, "messages": [{"role": "user", "content": "Hello"}]}
            client.sendall(chat_request(json.dumps(body).encode()))
            await until(lambda: any(request.peer.congested for request in services.at_work), 5)
            (request,) = services.at_work
            handler: Any = request
            plugin.told.set()
            await until(lambda: handler.reply.ended, 5)

            if way == "leaves":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            else:
                await served.gateway.drain(0)
            await asyncio.wait_for(services.idle.wait(), 2)

            assert handler.peer.closed
            assert plugin.ended == [("upstream_failed", "overloaded")]


@pytest.mark.parametrize("first", ["the end of the body", "the stop"])
async def test_a_stop_at_the_end_of_a_body_is_answered_once(first: str) -> None:
    async with FakeOllama() as ollama, serving(ollama.url) as served:
        reader, writer = await served.connect()
        writer.write(chat_request(b"{}")[:-1])
        at_work: Any = served.gateway.services.at_work
        await until(lambda: any(request._task is None for request in at_work))
        (handler,) = at_work
        steps = [lambda: handler.peer.data_received(b"}"), handler.stop]
        for step in steps if first == "the end of the body" else reversed(steps):
            step()

        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        body = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
        await until(lambda: not at_work)

        assert head.startswith(b"HTTP/1.1 503 ")
        assert handler.reply.bytes_out == len(body)
        writer.close()
