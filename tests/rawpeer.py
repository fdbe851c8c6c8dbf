"""A peer that speaks plain bytes: nothing between the test and what came over the socket."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any, Self

LIMIT_SECONDS = 5.0


@dataclass
class Answer:
    """One HTTP answer, read by its own framing."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    chunks: list[bytes]
    """Transfer chunks as they came, or the body in one piece."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body)

    def records(self) -> list[Any]:
        return [json.loads(line) for line in self.body.split(b"\n") if line]

    def text(self) -> str:
        """What a chat's records say."""
        return "".join(record["message"]["content"] for record in self.records() if "message" in record)


class Peer:
    """One connection to a server on this machine: `async with Peer(port) as peer`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, method: str, path: str, body: Any = None, *, headers: str = "") -> None:
        """Send a request; `body` is JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
        self.send(head.encode() + data)

    async def read(self, *, head_only: bool = False) -> Answer:
        """The next answer. Raises `asyncio.IncompleteReadError` when the connection ends before it does."""
        async with asyncio.timeout(LIMIT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            chunks = [] if head_only else await self._chunks(headers)
        return Answer(int(status.split()[1]), headers, chunks)

    async def _chunks(self, headers: dict[str, str]) -> list[bytes]:
        if "content-length" in headers:
            return [await self.reader.readexactly(int(headers["content-length"]))]
        if headers.get("transfer-encoding") != "chunked":
            return [await self.reader.read()]
        chunks: list[bytes] = []
        while True:
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size + 2)
            if not size:
                return chunks
            chunks.append(data[:-2])

    async def call(self, method: str, path: str, body: Any = None, *, headers: str = "") -> Answer:
        self.ask(method, path, body, headers=headers)
        return await self.read(head_only=method == "HEAD")

    async def rest(self) -> bytes:
        """All bytes until the end. Raises `ConnectionResetError` when the end is RST."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self.reader.read()

    def reset(self) -> None:
        """Leave with RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def call(port: int, method: str, path: str, body: Any = None, *, headers: str = "") -> Answer:
    """One request on a connection of its own."""
    async with Peer(port) as peer:
        return await peer.call(method, path, body, headers=headers)


def chat(text: str = "Hello", model: str = "llama3.2", **more: Any) -> dict[str, Any]:
    """A native chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
