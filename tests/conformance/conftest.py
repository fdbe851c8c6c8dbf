"""A gateway and its simulated Ollama in a thread, for property tests: hypothesis runs one example after another, without a loop."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from serving import KEY, Served, serving

from tornado_gateway.testing import Behaviour, FakeOllama

T = TypeVar("T")


@dataclass
class Threaded:
    """A running gateway, seen from another thread."""

    loop: asyncio.AbstractEventLoop
    ollama: FakeOllama
    served: Served
    _connection: http.client.HTTPConnection | None = field(default=None)

    def do(self, work: Callable[[], T]) -> T:
        """Run `work` in the loop of the gateway."""

        async def done() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(10)

    def next(self, *behaviours: Behaviour) -> None:
        """Forget what was scripted before; the next requests to a model get these."""

        def script() -> None:
            self.ollama.unscript()
            self.ollama.next(*behaviours)

        self.do(script)

    def post(self, path: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """On one connection as long as it lasts, as clients do."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=20)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        try:
            self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
            return response, response.read()
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def threaded() -> Iterator[Threaded]:
    """The gateway, whose names for models are the household's; nothing limits the calls."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> Threaded:
        ollama = await stack.enter_async_context(FakeOllama())
        return Threaded(loop, ollama, await stack.enter_async_context(serving(ollama.url)))

    running = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield running
    finally:
        running.close()
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
