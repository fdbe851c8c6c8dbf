"""The gateway's routes in somebody else's Tornado server keep the promises about clients that leave, stall and send too much."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from faults.oracles import until
from serving import AUTH, chat_request
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets

from tornado_gateway import Gateway
from tornado_gateway.config import Settings
from tornado_gateway.handlers.embedded import TornadoPeer
from tornado_gateway.testing import Behaviour, FakeOllama, hang

BODY = {"model": "llama3.2", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
ASKED = chat_request(json.dumps(BODY).encode())
FLOOD = Behaviour(pieces=["x" * 1000] * 30_000)
SOON = 5


@asynccontextmanager
async def embedded(ollama: FakeOllama, **server: object) -> AsyncIterator[tuple[Gateway, int]]:
    settings = Settings.model_validate({"upstream": {"url": ollama.url}, "plugins": [AUTH], "server": server})
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)  # who is slow is behind soon
    async with Gateway(settings) as gateway:
        theirs = HTTPServer(gateway.application())
        theirs.add_sockets(sockets)
        yield gateway, sockets[0].getsockname()[1]
        theirs.stop()
        await gateway.drain(0)
        await theirs.close_all_connections()


@pytest.mark.parametrize("behind", [b"", b"\r"])
async def test_leaving_stops_ollama(behind: bytes) -> None:
    async with FakeOllama() as ollama, embedded(ollama) as (gateway, port):
        ollama.next(hang())
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await ollama.ledger.wait_for(lambda ledger: ledger.inference)
        writer.write(behind)
        writer.close()

        await ollama.ledger.wait_for(lambda ledger: ledger.inference[0].left_at is not None, timeout=2)
        await asyncio.wait_for(gateway.services.idle.wait(), 2)


async def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    async with FakeOllama() as ollama, embedded(ollama, write_stall_seconds=0.5) as (gateway, port):
        ollama.next(FLOOD)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.connect(("127.0.0.1", port))
            client.sendall(ASKED)
            await ollama.ledger.wait_for(
                lambda ledger: ledger.inference and ledger.inference[0].left_at is not None, timeout=10
            )
            await asyncio.wait_for(gateway.services.idle.wait(), 2)


async def test_a_reader_that_is_slow_but_alive_gets_everything_of_several_choices() -> None:
    """They write side by side, each behind what the kernel has not taken of the others."""
    async with FakeOllama() as ollama, embedded(ollama, write_stall_seconds=1) as (gateway, port):
        pieces = ["x" * 200_000] * 3
        ollama.next(*[Behaviour(pieces=pieces)] * 2)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.connect(("127.0.0.1", port))
            client.sendall(chat_request(json.dumps({**BODY, "n": 2}).encode(), more="Connection: close\r\n"))
            await until(lambda: any(request.peer.congested for request in gateway.services.at_work))

            answer = await asyncio.to_thread(read_all, client, pause_seconds=0.005)

        assert answer.endswith(b"0\r\n\r\n")
        assert answer.count(b"x" * 200_000) == 2 * len(pieces)


def read_all(client: socket.socket, *, pause_seconds: float = 0.0) -> bytes:
    client.settimeout(10)
    parts = []
    while part := client.recv(64 * 1024):
        parts.append(part)
        time.sleep(pause_seconds)
    return b"".join(parts)


async def test_a_wait_for_the_reader_is_for_all_that_was_written() -> None:
    """Such as a record behind a heartbeat that the kernel did not take."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = IOStream(ours)
    peer = TornadoPeer(HTTP1Connection(stream, is_client=False))
    with theirs:
        while peer.write(b"x" * 100_000):
            pass
        first = asyncio.ensure_future(peer.drain(SOON))
        await asyncio.sleep(0)
        peer.write(b"y" * 1_000_000)
        second = asyncio.ensure_future(peer.drain(SOON))
        peer.finish(keep_alive=False)

        answer = await asyncio.to_thread(read_all, theirs)
        await asyncio.gather(first, second)

    assert answer.endswith(b"x" + b"y" * 1_000_000)


async def test_a_stream_arrives_whole_and_another_request_follows_on_the_same_connection() -> None:
    async with FakeOllama() as ollama, embedded(ollama) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(ASKED)
            assert b"[DONE]" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), SOON)
        writer.close()


async def test_a_body_that_is_too_large_is_refused_in_words() -> None:
    async with FakeOllama() as ollama, embedded(ollama, max_body_bytes=100_000) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        chunks = b"".join(b"2710\r\n" + b" " * 10_000 + b"\r\n" for _ in range(50)) + b"0\r\n\r\n"
        head = ASKED.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
        writer.write(head + chunks)

        answer = await asyncio.wait_for(reader.read(), SOON)

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"request_too_large"' in answer
        writer.close()


async def test_a_stranger_is_told_so_before_the_body_is_read() -> None:
    async with FakeOllama() as ollama, embedded(ollama) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chat_request(b"", key="wrong").replace(b"Content-Length: 0", b"Content-Length: 1000000"))

        assert (await asyncio.wait_for(reader.read(), SOON)).startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_an_end_of_ollama_in_mid_stream_is_an_error_and_no_regular_end() -> None:
    async with FakeOllama() as ollama, embedded(ollama, heartbeat_seconds=1) as (gateway, port):
        ollama.next(Behaviour(tokens=1000, tokens_per_second=50))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await asyncio.wait_for(reader.readuntil(b"data: "), SOON)
        await gateway.drain(0)

        rest = await asyncio.wait_for(reader.read(), SOON)

        assert b'"code":"shutting_down"' in rest
        assert not rest.endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_server_that_stops_does_not_wait_for_a_body() -> None:
    async with FakeOllama() as ollama, embedded(ollama) as (gateway, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED[:-1])
        await until(lambda: gateway.services.at_work)
        await asyncio.wait_for(gateway.drain(0), SOON)

        answer = await asyncio.wait_for(reader.read(), SOON)

        assert not gateway.services.at_work
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"shutting_down"' in answer
        writer.close()
