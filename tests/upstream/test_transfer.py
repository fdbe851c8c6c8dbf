from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tornado.httpclient import HTTPRequest
from upstream.raw import STREAM_HEAD, WITHIN, Peer, Serve, answering, chunk, chunked, whole

from tornado_gateway.errors import GatewayError, UpstreamClosed, UpstreamInvalidResponse, UpstreamTimeout, UpstreamUnavailable
from tornado_gateway.upstream.client import OllamaHTTPClient
from tornado_gateway.upstream.transfer import Limits

MEGABYTE = 1024 * 1024


@pytest.fixture
async def client() -> AsyncIterator[OllamaHTTPClient]:
    limits = Limits(connect=WITHIN, first_byte=WITHIN, idle=0.2, max_body_bytes=MEGABYTE)
    client = OllamaHTTPClient(force_instance=True, limits=limits)
    yield client
    client.close()
    await client.closed()


def stream(url: str, callback: Callable[[bytes], Awaitable[None] | None]) -> HTTPRequest:
    return HTTPRequest(url, streaming_callback=callback)


async def flood(peer: Peer) -> None:
    """200 MB in chunks of 64 KB."""
    await peer.request()
    await peer.send(STREAM_HEAD)
    part = chunk(bytes(65536))
    for _ in range(3200):
        await peer.send(part)
    await peer.send(b"0\r\n\r\n")


async def test_c30_a_callback_that_is_busy_stops_the_upstream(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(flood)
    loop = asyncio.get_running_loop()
    room = loop.create_future()
    received = 0

    def take(data: bytes) -> asyncio.Future[None] | None:
        nonlocal received
        received += len(data)
        return room if received > MEGABYTE and not room.done() else None

    future = client.fetch(stream(server.url, take))
    # The kernel's buffers fill; the client's idle limit passes twice meanwhile and must not fire.
    await asyncio.sleep(0.5)
    assert received < 2 * MEGABYTE
    assert server.sent < 16 * MEGABYTE
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    room.set_result(None)
    await future

    assert received == 200 * MEGABYTE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown < 16 * 1024


async def test_a_coroutine_as_callback_is_awaited_before_more_comes_and_before_the_end(
    serve: Serve, client: OllamaHTTPClient
) -> None:
    parts = [b"%d" % number * 20_000 for number in range(10)]
    server = await serve(answering(chunked(*parts)))
    digest, busy = hashlib.sha256(), False

    async def slowly(data: bytes) -> None:
        nonlocal busy
        assert not busy
        busy = True
        await asyncio.sleep(0.005)
        digest.update(data)
        busy = False

    await client.fetch(stream(server.url, slowly))

    assert (busy, digest.digest()) == (False, hashlib.sha256(b"".join(parts)).digest())


async def test_a_coroutine_that_fails_ends_the_transfer(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(flood)

    async def refuse(_: bytes) -> None:
        await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await client.fetch(stream(server.url, refuse))

    await server.until(lambda server: server.closed == 1)


async def test_a_connection_whose_last_callback_was_busy_is_used_again(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(chunked(b"a")))

    async def slowly(_: bytes) -> None:
        await asyncio.sleep(0.01)

    for _ in range(3):
        await client.fetch(stream(server.url, slowly))

    assert server.opened == 1


def cut(*parts: bytes, reset: bool = False) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*parts)
        await peer.received()
        if reset:
            peer.reset()
        else:
            peer.close()

    return script


BEGUN = STREAM_HEAD + chunk(b"some")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(cut(BEGUN), UpstreamClosed, id="C17: FIN before the last chunk"),
        pytest.param(cut(BEGUN + b"9\r\n"), UpstreamClosed, id="C17: FIN in mid chunk"),
        pytest.param(cut(BEGUN + b"0\r\n"), UpstreamClosed, id="C17: FIN in the terminator"),
        pytest.param(cut(whole(b"something").removesuffix(b"thing")), UpstreamClosed, id="C17: less than the length"),
        pytest.param(cut(BEGUN, reset=True), UpstreamClosed, id="C18: RST in mid body"),
        pytest.param(cut(BEGUN + b"zz\r\n"), UpstreamInvalidResponse, id="a chunk without a size"),
        pytest.param(cut(BEGUN + b"1\r\nxx\r\n"), UpstreamInvalidResponse, id="a chunk longer than its size"),
    ],
)
async def test_a_cut_body_is_a_failure_at_once_and_loses_nothing(
    serve: Serve, client: OllamaHTTPClient, script: Callable[[Peer], Awaitable[None]], error: type[GatewayError]
) -> None:
    server = await serve(script)
    pieces: list[bytes] = []

    with pytest.raises(error):
        async with asyncio.timeout(1):
            await client.fetch(stream(server.url, pieces.append))

    assert b"".join(pieces).startswith(b"some")
    assert len(server.requests) == 1


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
async def test_c22_a_death_before_the_first_byte_is_a_failure_at_once(
    serve: Serve, client: OllamaHTTPClient, leave: Callable[[Peer], None]
) -> None:
    async def die(peer: Peer) -> None:
        await peer.request()
        leave(peer)

    server = await serve(die)

    with pytest.raises(UpstreamClosed):
        await client.fetch(server.url)

    assert (server.opened, len(server.requests)) == (1, 1)


async def test_a_collected_body_has_a_bound(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(flood)

    with pytest.raises(UpstreamInvalidResponse):
        await client.fetch(server.url)

    await server.until(lambda server: server.closed == 1)


async def test_c40_a_million_chunks_of_one_byte_arrive(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(STREAM_HEAD + chunk(b"x") * 1_000_000 + b"0\r\n\r\n"))
    received = 0

    def take(data: bytes) -> None:
        nonlocal received
        received += len(data)

    await client.fetch(stream(server.url, take))

    assert received == 1_000_000


async def hang(peer: Peer) -> None:
    await peer.request()


async def begin(peer: Peer) -> None:
    await peer.request()
    await peer.send(BEGUN)


class TestLimits:
    async def test_c43_no_connection(self, black_hole: int) -> None:
        await self._fails(f"http://127.0.0.1:{black_hole}/", Limits(connect=0.1), UpstreamUnavailable)

    async def test_c41_no_first_byte(self, serve: Serve) -> None:
        server = await serve(hang)
        await self._fails(server.url, Limits(first_byte=0.1), UpstreamTimeout)
        await server.until(lambda server: server.closed == 1)

    async def test_c41_silence_between_bytes(self, serve: Serve) -> None:
        server = await serve(begin)
        await self._fails(server.url, Limits(idle=0.1), UpstreamTimeout)
        await server.until(lambda server: server.closed == 1)

    async def test_a_stream_that_never_ends(self, serve: Serve) -> None:
        async def drip(peer: Peer) -> None:
            await peer.request()
            await peer.send(STREAM_HEAD)
            while True:
                await peer.send(chunk(b"x"))
                await asyncio.sleep(0.01)

        server = await serve(drip)
        await self._fails(server.url, Limits(total=0.2, idle=0.1), UpstreamTimeout)
        await server.until(lambda server: server.closed == 1)

    async def test_c42_a_slow_stream_is_not_cut(self, serve: Serve) -> None:
        async def drip(peer: Peer) -> None:
            await peer.request()
            await peer.send(STREAM_HEAD)
            for _ in range(10):
                await peer.send(chunk(b"x"))
                await asyncio.sleep(0.05)
            await peer.send(b"0\r\n\r\n")

        server = await serve(drip)
        client = OllamaHTTPClient(force_instance=True, limits=Limits(first_byte=0.2, idle=0.2))

        response = await client.fetch(server.url)

        assert len(response.body) == 10
        client.close()
        await client.closed()

    async def test_a_request_may_have_its_own(self, serve: Serve, client: OllamaHTTPClient) -> None:
        server = await serve(hang)

        with pytest.raises(UpstreamTimeout):
            await client.fetch(HTTPRequest(server.url, request_timeout=0.1))

    @staticmethod
    async def _fails(url: str, limits: Limits, error: type[Exception]) -> None:
        client = OllamaHTTPClient(force_instance=True, limits=limits)
        loop = asyncio.get_running_loop()
        began = loop.time()

        with pytest.raises(error) as caught:
            await client.fetch(url)

        assert loop.time() - began < 0.5
        assert "127.0.0.1" not in str(caught.value)
        client.close()
        await client.closed()
