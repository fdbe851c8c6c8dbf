"""A simulated Ollama that is no bottleneck: prepared bytes on a bare protocol. `python -m bench.upstream PORT`.

`tornado_gateway.testing` is not used here: it keeps a ledger, makes every record anew and has no OpenAI layer, which ferrogw needs, so
the load would end where the simulation's CPU ends. What this one does not do: errors, models, anything a test would look at.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from bench.prompts import Dialect, Plan, facts, native, openai, plan_of, whole_native, whole_openai

_FACTS = facts()
_DIALECTS: dict[str, Dialect] = {"/api/chat": native(), "/v1/chat/completions": openai()}
_WHOLE = {"/api/chat": whole_native, "/v1/chat/completions": whole_openai}
_PREPARED: dict[tuple[str, int], bytes] = {}
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: one request at a time, as clients of Ollama send them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 0
        """Bytes of the request that is being read; 0 while its head is not whole."""
        self._path = ""
        self._body_at = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._needed and not self._read_head():
            return
        if len(self._buffer) >= self._needed:
            body = self._buffer[self._body_at : self._needed]
            del self._buffer[: self._needed]
            self._needed = 0
            self._answer(self._path, body)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).decode("latin-1")
        self._path = head.split(" ", 2)[1].partition("?")[0]
        lower = head.lower()
        at = lower.find("\r\ncontent-length:")
        length = int(lower[at + 17 :].partition("\r\n")[0]) if at >= 0 else 0
        if "\r\nexpect: 100-continue" in lower:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._body_at = end + 4
        self._needed = self._body_at + length
        return True

    def _answer(self, path: str, body: bytearray) -> None:
        dialect = _DIALECTS.get(path)
        if dialect is None:
            self._transport.write(_FACTS.get(path, _NOT_FOUND))
            return
        plan = plan_of(body)
        if _streamed(path, body):
            self._begin(dialect, plan)
            return
        key = (path, plan.tokens)
        if key not in _PREPARED:
            _PREPARED[key] = _WHOLE[path](plan.tokens)
        self._transport.write(_PREPARED[key])

    def _begin(self, dialect: Dialect, plan: Plan) -> None:
        if not plan.per_second:
            self._transport.write(dialect.head + dialect.record * plan.tokens + dialect.last)
            return
        first = self._loop.time()
        self._transport.write(dialect.head + dialect.record * plan.burst)
        self._after(dialect, plan, first, 1)

    def _after(self, dialect: Dialect, plan: Plan, first: float, written: int) -> None:
        """Wait for the next write. Its time is reckoned from the first, so that the pace does not drift."""
        self._timer = self._loop.call_at(first + written / plan.per_second, self._tick, dialect, plan, first, written)

    def _tick(self, dialect: Dialect, plan: Plan, first: float, written: int) -> None:
        if plan.tokens and written * plan.burst >= plan.tokens:
            self._transport.write(dialect.last)
            return
        self._transport.write(dialect.record * plan.burst)
        self._after(dialect, plan, first, written + 1)


def _streamed(path: str, body: bytearray) -> bool:
    """Whether a stream is wanted: Ollama streams unless told not to, OpenAI's clients must ask. The flag stands near an end of the body."""
    near = bytes(body[:4096] + body[-4096:]).replace(b" ", b"")
    return b'"stream":false' not in near if path == "/api/chat" else b'"stream":true' in near


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: it leaves more of the machine to what is measured."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1])))
