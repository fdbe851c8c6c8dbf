import asyncio
import socket
import sys

import pytest
from serving import serving
from tornado.web import Application

from tornado_gateway.listener import Bounds, Listener
from tornado_gateway.presence import watcher
from tornado_gateway.testing import FakeOllama

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def test_beyond_its_cap_a_connection_is_told_why_and_closed() -> None:
    async with FakeOllama() as ollama, serving(ollama.url, server={"max_connections": 1}) as served:
        _, kept = await served.connect()
        await asyncio.sleep(0)  # the first is accepted first
        async with asyncio.timeout(5):
            while not (answer := await served.raw(PROBE)).startswith(b"HTTP/1.1 503 "):
                pass
        kept.close()

        assert b'"code":"overloaded"' in answer
        assert b"\r\nRetry-After: 1\r\n" in answer
        async with asyncio.timeout(5):
            while not (await served.raw(PROBE)).startswith(b"HTTP/1.1 200 "):
                pass


async def test_who_is_accepted_as_all_are_closed_is_closed_too() -> None:
    presence = watcher()
    listener = Listener(Application([]), presence, Bounds(9, 9, 4096, 1, 1), None)
    listening = socket.create_server(("127.0.0.1", 0))
    listener.listen_at([listening])
    with socket.create_connection(listening.getsockname(), timeout=5) as client:
        listener._accept(listening)  # as the loop would, and before what it begins has had a turn

        listener.stop_listening()
        async with asyncio.timeout(5):
            await listener.close_all_connections()

        assert client.recv(1) == b""
    presence.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such a socket is not readable")
async def test_a_socket_that_cannot_accept_is_asked_again_later_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    presence = watcher()
    listener = Listener(Application([]), presence, Bounds(9, 9, 4096, 1, 1), None)
    listening = socket.create_server(("127.0.0.1", 0))
    listener.listen_at([listening])
    listening.shutdown(socket.SHUT_RD)  # accept(2) says EINVAL from now on

    listener._accept(listening)

    assert caplog.messages == ["connections_waiting"]
    assert not asyncio.get_running_loop().remove_reader(listening.fileno())
    listener.stop_listening()
    presence.close()
