from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from upstream.raw import RECORD, STREAM_HEAD, WITHIN, Peer, Serve, answering, chunk, chunked, whole

from tornado_gateway.errors import ShuttingDown, UpstreamClosed
from tornado_gateway.upstream.client import OllamaHTTPClient
from tornado_gateway.upstream.transfer import Limits


@pytest.fixture
async def client() -> AsyncIterator[OllamaHTTPClient]:
    client = OllamaHTTPClient(force_instance=True, limits=Limits(connect=WITHIN, first_byte=WITHIN, idle=WITHIN))
    yield client
    client.close()
    async with asyncio.timeout(WITHIN):
        await client.closed()


def post(url: str, body: bytes = b"{}", callback: Callable[[bytes], Awaitable[None] | None] | None = None) -> HTTPRequest:
    return HTTPRequest(url, method="POST", body=body, streaming_callback=callback)


async def hang(peer: Peer) -> None:
    await peer.request()


async def begin(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM_HEAD + chunk(RECORD % b"a"))


async def test_a_streamed_body_goes_to_the_callback_in_order(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(chunked(b"one", b"two", b"three")))
    pieces: list[bytes] = []

    response = await client.fetch(post(server.url, callback=pieces.append))

    assert (response.code, response.body, b"".join(pieces)) == (200, b"", b"onetwothree")
    assert response.headers["content-type"] == "application/x-ndjson"


async def test_a_body_without_a_callback_is_in_the_response(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(whole(b"hello")))

    assert (await client.fetch(server.url)).body == b"hello"


async def test_the_body_of_a_refusal_is_never_streamed(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(whole(b'{"error":"no"}', "404 Not Found")))
    pieces: list[bytes] = []

    response = await client.fetch(post(server.url, callback=pieces.append), raise_error=False)

    assert (response.code, response.body, pieces) == (404, b'{"error":"no"}', [])


async def test_of_a_long_refusal_the_first_part_is_kept(serve: Serve, client: OllamaHTTPClient) -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD.replace(b"200 OK", b"500 Odd"))
        while True:
            await peer.send(chunk(b"x" * 10_000))

    server = await serve(endless)

    response = await client.fetch(server.url, raise_error=False)

    assert (response.code, len(response.body)) == (500, 64 * 1024)
    await server.until(lambda server: server.closed == 1)


async def test_a_status_is_an_error_unless_told_otherwise(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(whole(b"", "500 Odd")))

    with pytest.raises(HTTPClientError):
        await client.fetch(server.url)


async def test_connections_are_used_again(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(whole(b"a"), chunked(b"b"), whole(b"", "204 No")))

    for _ in range(20):
        await client.fetch(post(server.url))

    assert (server.opened, len(server.requests)) == (1, 20)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(whole(b"a", extra=b"Connection: close\r\n"), id="asked to close"),
        pytest.param(whole(b"a").replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(whole(b"a") + whole(b"smuggled"), id="C04: bytes behind a length"),
        pytest.param(chunked(b"a") + whole(b"smuggled"), id="C04: bytes behind chunks"),
        pytest.param(whole(b"a") + b"\r\n", id="a line end behind a length"),
        pytest.param(chunked(b"a") + b"\r\n", id="a line end behind chunks"),
        pytest.param(chunked(b"a") + b"x", id="garbage behind chunks"),
        pytest.param(chunked(b"a", end=b"0\r\nX-Trailer: 1\r\n\r\n"), id="trailers"),
    ],
)
async def test_a_connection_with_an_unclean_end_is_closed(serve: Serve, client: OllamaHTTPClient, response: bytes) -> None:
    server = await serve(answering(response))

    for _ in range(2):
        assert (await client.fetch(post(server.url))).body == b"a"

    await server.until(lambda server: server.closed == 2)
    assert server.opened == 2


async def test_c04_bytes_on_an_idle_connection_reach_nobody(serve: Serve, client: OllamaHTTPClient) -> None:
    async def talkative(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"asked"))
        await peer.send(whole(b"smuggled"))

    server = await serve(talkative)

    bodies = [(await client.fetch(server.url)).body for _ in range(5)]

    assert bodies == [b"asked"] * 5
    await server.until(lambda server: server.closed == server.opened)


async def test_an_idle_connection_that_was_closed_is_replaced(serve: Serve, client: OllamaHTTPClient) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"a"))
        peer.close()

    server = await serve(once)

    for _ in range(5):
        assert (await client.fetch(post(server.url))).body == b"a"

    assert len(server.requests) == 5


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
async def test_c22_a_request_that_was_read_is_not_sent_again(
    serve: Serve, client: OllamaHTTPClient, leave: Callable[[Peer], None]
) -> None:
    async def die_at_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"a"))
        await peer.request()
        leave(peer)

    server = await serve(die_at_the_second)
    await client.fetch(post(server.url))

    with pytest.raises(UpstreamClosed):
        await client.fetch(post(server.url))

    assert (server.opened, len(server.requests)) == (1, 2)


async def test_c16_redirects_are_not_followed(serve: Serve, client: OllamaHTTPClient) -> None:
    other = await serve(answering(whole(b"other")))
    server = await serve(answering(whole(b"", "307 Moved", b"Location: " + other.url.encode() + b"\r\n")))

    response = await client.fetch(post(server.url), raise_error=False)

    assert (response.code, other.opened) == (307, 0)


async def test_a_request_has_its_own_host_and_length_and_asks_for_no_compression(
    serve: Serve, client: OllamaHTTPClient
) -> None:
    server = await serve(answering(whole(b"")))
    headers = {"Host": "elsewhere", "Accept-Encoding": "gzip", "Content-Length": "7", "X-Key": "k"}

    await client.fetch(HTTPRequest(f"{server.url}/base/api/chat", method="POST", body=b"{}", headers=headers))

    assert server.requests == [
        b"POST /base/api/chat HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 2\r\nX-Key: k\r\n\r\n{}" % server.port
    ]


async def test_a_large_request_arrives_whole(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(whole(b"")))
    body = random.Random(1).randbytes(900_000)

    await client.fetch(post(server.url, body))

    assert server.requests[0].endswith(b"\r\n\r\n" + body)


async def test_an_answer_before_the_request_was_read_is_taken_and_ends_the_connection(
    serve: Serve, client: OllamaHTTPClient
) -> None:
    async def hasty(peer: Peer) -> None:
        await peer.head()
        await peer.send(whole(b"too large", "413 No"))

    server = await serve(hasty)

    response = await client.fetch(post(server.url, bytes(50_000_000)), raise_error=False)

    assert (response.code, response.body) == (413, b"too large")
    await server.until(lambda server: server.closed == 1)


async def test_the_answer_to_head_has_no_body(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"))

    response = await client.fetch(HTTPRequest(server.url, method="HEAD"))

    assert (response.code, response.body) == (200, b"")


async def test_the_base_classes_way_in_works(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(answering(whole(b"a")))
    answered: asyncio.Future[HTTPResponse] = asyncio.get_running_loop().create_future()

    client.fetch_impl(HTTPRequest(server.url), answered.set_result)

    assert (await answered).body == b"a"


async def test_a_callback_that_raises_ends_the_transfer_with_its_own_error(serve: Serve, client: OllamaHTTPClient) -> None:
    server = await serve(begin)

    def refuse(_: bytes) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await client.fetch(post(server.url, callback=refuse))

    await server.until(lambda server: server.closed == 1)


class TestCancelling:
    """C25 to C29: the future is cancelled, the upstream sees the close."""

    async def test_while_waiting_for_the_first_byte(self, serve: Serve, client: OllamaHTTPClient) -> None:
        server = await serve(hang)
        future = client.fetch(post(server.url))
        await server.until(lambda server: len(server.requests) == 1)

        future.cancel()

        await server.until(lambda server: server.closed == 1)

    async def test_in_mid_stream(self, serve: Serve, client: OllamaHTTPClient) -> None:
        server = await serve(begin)
        arrived = asyncio.Event()
        future = client.fetch(post(server.url, callback=lambda _: arrived.set()))
        await arrived.wait()

        future.cancel()

        await server.until(lambda server: server.closed == 1)

    async def test_the_task_that_awaits_it(self, serve: Serve, client: OllamaHTTPClient) -> None:
        server = await serve(hang)

        async def ask() -> None:
            await client.fetch(post(server.url))

        task = asyncio.get_running_loop().create_task(ask())
        await server.until(lambda server: len(server.requests) == 1)

        task.cancel()

        await server.until(lambda server: server.closed == 1)
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_while_the_callback_is_busy(self, serve: Serve, client: OllamaHTTPClient) -> None:
        server = await serve(begin)
        arrived = asyncio.Event()

        def busy(_: bytes) -> asyncio.Future[None]:
            arrived.set()
            return asyncio.get_running_loop().create_future()

        future = client.fetch(post(server.url, callback=busy))
        await arrived.wait()

        future.cancel()

        await server.until(lambda server: server.closed == 1)

    async def test_while_connecting(
        self, black_hole: int, client: OllamaHTTPClient, open_sockets: Callable[[], list[int]]
    ) -> None:
        before = len(open_sockets())
        future = client.fetch(f"http://127.0.0.1:{black_hole}/")
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(open_sockets()) == before + 1

        future.cancel()

        async with asyncio.timeout(WITHIN):
            await client.closed()
        assert len(open_sockets()) == before

    async def test_during_the_tls_handshake(self, serve: Serve, client: OllamaHTTPClient) -> None:
        server = await serve(Peer.anything)
        future = client.fetch(server.url.replace("http", "https"))
        await server.until(lambda server: len(server.requests) == 1)

        future.cancel()

        await server.until(lambda server: server.closed == 1)

    async def test_before_the_name_is_known(self, client: OllamaHTTPClient) -> None:
        future = client.fetch("http://localhost:9/")
        await asyncio.sleep(0)

        future.cancel()

        async with asyncio.timeout(WITHIN):
            await client.closed()

    async def test_c29_at_any_instant_leaves_no_socket(
        self, serve: Serve, client: OllamaHTTPClient, open_sockets: Callable[[], list[int]]
    ) -> None:
        server = await serve(begin)
        chance = random.Random(29)

        async def one() -> None:
            future = client.fetch(post(server.url.replace("127.0.0.1", chance.choice(["127.0.0.1", "localhost"]))))
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            future.cancel()

        for _ in range(60):
            await asyncio.gather(*(one() for _ in range(20)))

        async with asyncio.timeout(WITHIN):
            await client.closed()
        await server.until(lambda server: server.closed == server.opened)
        assert server.port not in open_sockets()


async def test_closing_ends_what_is_under_way(serve: Serve, open_sockets: Callable[[], list[int]]) -> None:
    server = await serve(hang)
    client = OllamaHTTPClient(force_instance=True)
    future = client.fetch(server.url)
    await server.until(lambda server: len(server.requests) == 1)

    client.close()

    with pytest.raises(ShuttingDown):
        await future
    await client.closed()
    await server.until(lambda server: server.closed == 1)
    with pytest.raises(RuntimeError):
        client.fetch(server.url)


async def test_two_clients_share_nothing(serve: Serve) -> None:
    server = await serve(answering(whole(b"a")))
    clients = [OllamaHTTPClient(force_instance=True) for _ in range(2)]

    for client in clients:
        await client.fetch(server.url)

    assert server.opened == 2
    for client in clients:
        client.close()
        await client.closed()
