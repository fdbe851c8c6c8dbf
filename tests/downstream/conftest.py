"""A connection of ours on a real socket, in front of an application that does what a test says."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trustme
from tornado.web import Application, RequestHandler, stream_request_body

from tornado_gateway.downstream import ClientConnection, House
from tornado_gateway.presence import watcher

Work = Callable[["Handler"], Awaitable[None]]


@stream_request_body
class Handler(RequestHandler):
    """Collects the body, then does what the stage says."""

    def initialize(self, stage: "Stage") -> None:
        self.stage = stage
        self.body = b""
        self._auto_finish = False

    @property
    def peer(self) -> ClientConnection:
        assert isinstance(self.request.connection, ClientConnection)
        return self.request.connection

    async def prepare(self) -> None:
        self.stage.handlers.append(self)
        await self.stage.ready.wait()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self.body += chunk
        return self.stage.take(self) if self.stage.take else None

    async def post(self) -> None:
        await self.stage.work(self)

    get = post

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.stage.left.set()


async def echo(handler: Handler) -> None:
    """Answer with the body that came."""
    handler.peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(handler.body), handler.body))
    handler.peer.finish(keep_alive=True)


@dataclass
class Stage:
    """What the handlers of one test do, and what they saw."""

    work: Work = echo
    take: Work | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    handlers: list[Handler] = field(default_factory=list)
    connection: ClientConnection | None = None
    max_header_bytes: int = 4096
    send_buffer: int | None = 16 * 1024
    """How much the kernel keeps for the client; None: as much as it likes."""
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
    """What the server shows, and what the client trusts."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client of a new connection, whose kernel buffers are small."""
        presence = watcher()
        house = House(
            Application([(r"/", Handler, {"stage": self})]), presence, self.max_header_bytes, "http", lambda _: self.lost.set()
        )
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
            accepted, address = listening.accept()
        if self.send_buffer is not None:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        accepted.setblocking(False)
        self.connection = connection = ClientConnection(house, address[0])
        server, trusted = self.tls or (None, None)
        _, (reader, self.writer) = await asyncio.gather(
            asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted, ssl=server),
            asyncio.open_connection(sock=client, ssl=trusted, server_hostname="localhost" if trusted else None),
        )
        self.presence = presence
        return reader, self.writer

    async def until(self, true: Callable[[], object]) -> None:
        """Let the loop turn until a state of the connection is reached that has no event."""
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110  # as said
                await asyncio.sleep(0)


@pytest.fixture(scope="session")
def certified() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(trusted)
    return server, trusted


@pytest.fixture
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A stage in the open, or behind TLS for a test that says so."""
    behind_tls = getattr(request, "param", "plain") == "tls"
    made = Stage(tls=request.getfixturevalue("certified") if behind_tls else None)
    made.ready.set()
    yield made
    if made.connection is not None:
        made.connection.abort()
        await asyncio.wait_for(made.lost.wait(), 5)
        made.presence.close()
        if not made.writer.is_closing():
            made.writer.transport.abort()
        with contextlib.suppress(OSError):
            await made.writer.wait_closed()
