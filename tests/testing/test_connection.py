"""One connection, many requests, and the ways in which it ends."""

from collections.abc import AsyncIterator

import pytest
from rawpeer import Peer, chat

from tornado_gateway.testing import FakeOllama, fail, say


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def test_a_connection_is_kept_over_answers_and_errors(ollama: FakeOllama) -> None:
    ollama.next(say("One."), fail())

    async with Peer(ollama.port) as peer:
        assert (await peer.call("POST", "/api/chat", chat())).text() == "One."
        assert (await peer.call("POST", "/api/chat", chat())).status == 500
        assert (await peer.call("GET", "/nope")).status == 404
        assert (await peer.call("GET", "/api/version")).status == 200
    assert ollama.ledger.connections_opened == 1


async def test_pipelined_requests_are_answered_in_order(ollama: FakeOllama) -> None:
    ollama.next(say("One two.", tokens_per_second=500), say("Three."))

    async with Peer(ollama.port) as peer:
        peer.ask("POST", "/api/chat", chat())
        peer.ask("POST", "/api/chat", chat())
        peer.ask("GET", "/")

        assert [(await peer.read()).text() for _ in range(2)] == ["One two.", "Three."]
        assert (await peer.read()).body == b"Ollama is running"


async def test_a_client_that_expects_100_gets_it(ollama: FakeOllama) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(b"POST /api/show HTTP/1.1\r\nHost: x.local\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await peer.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"{}")

        assert (await peer.read()).json() == {"error": "model is required"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_bytes_that_are_no_request_end_the_connection(ollama: FakeOllama, data: bytes, status: int) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(data)

        assert (await peer.rest()).startswith(b"HTTP/1.1 %d " % status)
    assert ollama.ledger.requests_seen == 0


@pytest.mark.parametrize("head", ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"])
async def test_a_client_that_wants_the_connection_closed_gets_it(ollama: FakeOllama, head: str) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(head.encode())

        assert b"\r\nConnection: close\r\n" in await peer.rest()
