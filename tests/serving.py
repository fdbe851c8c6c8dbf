"""A gateway on a real socket, in the loop of the test, in front of whatever the test names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tornado.netutil import bind_sockets

from tornado_gateway.app import Gateway
from tornado_gateway.config import Settings
from tornado_gateway.server import listener_for

KEY = "a key for tests"
AUTH = {"auth": {"keys": [{"name": "tester", "key": KEY}]}}


@dataclass
class Served:
    gateway: Gateway
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, request: bytes, *, until_close: bool = True) -> bytes:
        """What comes back for raw bytes; the connection is half-closed by nobody but the server."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            async with asyncio.timeout(10):
                return await (reader.read() if until_close else reader.readuntil(b"\r\n\r\n"))
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    url: str,
    /,
    *,
    plugins: Sequence[Any] = (AUTH,),
    server: Mapping[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[Served]:
    """`plugins` as in the configuration; other sections likewise."""
    sections["upstream"] = {"url": url, **sections.get("upstream", {})}
    settings = Settings.model_validate({"server": dict(server or {}), "plugins": list(plugins), **sections})
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    async with Gateway(settings, announce=lambda _: None) as gateway:
        listener = listener_for(gateway, settings, None)
        listener.listen_at(sockets)
        try:
            yield Served(gateway, sockets[0].getsockname()[1])
        finally:
            listener.stop_listening()
            await gateway.drain(0)
            await listener.close_all_connections()


def chat_request(body: bytes, *, key: str | None = KEY, path: str = "/v1/chat/completions", more: str = "") -> bytes:
    authorization = f"Authorization: Bearer {key}\r\n" if key is not None else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Content-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body
