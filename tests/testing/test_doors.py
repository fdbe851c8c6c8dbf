"""Foreign hosts and origins are refused before any route."""

from collections.abc import AsyncIterator

import pytest
from rawpeer import Peer, call

from tornado_gateway.testing import FakeOllama


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Origin: http://localhost:3000\r\n", 200),
        ("Origin: http://127.0.0.1\r\n", 200),
        ("Origin: app://x\r\n", 200),
        ("Origin: https://example.com\r\n", 403),
        ("Origin: null\r\n", 403),
    ],
)
async def test_a_foreign_origin_is_refused_at_the_door(ollama: FakeOllama, headers: str, status: int) -> None:
    answer = await call(ollama.port, "GET", "/api/tags", headers=headers)

    assert answer.status == status
    assert status == 200 or answer.body == b""


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("10.0.0.1", 200), ("[::1]:80", 200), ("x.local", 200), ("8.8.8.8", 403), ("evil.example", 403)],
)
async def test_a_foreign_host_is_refused_at_the_door(ollama: FakeOllama, host: str, status: int) -> None:
    async with Peer(ollama.port) as peer:
        peer.send(f"GET /api/version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

        assert (await peer.read()).status == status
