"""The oracles O1 to O6 behind a fault case: `serving` here is `serving.serving`, and looks around when the case is over.

    from faults.oracles import serving

A case that leaves something behind, says a key, cuts an answer in silence or logs a traceback goes red, whatever it is about.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import serving as plain
from faults.strict import Response, check_honest, responses
from serving import AUTH, KEY, Served, chat_request

from tornado_gateway.app import Gateway

__all__ = ["AUTH", "KEY", "Heard", "Served", "Watched", "chat_request", "count_descriptors", "serving", "until"]

SETTLE_SECONDS = 1.0
"""O3: by then everything that a case took is given back."""
HEALTH_SECONDS = 0.1
"""O6."""
_METHOD = re.compile(rb"(?:^|\n)([A-Z]{3,7}) \S+ HTTP/1\.[01]\r\n")


class Heard(logging.Handler):
    """O1 and O5: everything that was logged. Of exceptions the logging plugin writes no message, so those are not searched."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def text(self) -> str:
        return "\n".join(f"{record.getMessage()} {getattr(record, 'facts', '')}" for record in self.records)

    def tracebacks(self, allowed: Collection[str]) -> list[str]:
        """What was logged with a traceback, or about a coroutine that nobody awaited, but for the events that a case is about."""
        bad = re.compile("Uncaught exception|never awaited|never retrieved|Traceback")
        return [
            f"{record.name}: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}"
            for record in self.records
            if (record.exc_info or bad.search(record.getMessage())) and record.getMessage() not in allowed
        ]

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        root, ours = logging.getLogger(), logging.getLogger("tornado_gateway")
        before = root.level, ours.level, ours.propagate
        root.addHandler(self)
        ours.addHandler(self)  # the logging plugin keeps what is ours from the root
        root.setLevel(logging.DEBUG)
        ours.setLevel(logging.DEBUG)
        try:
            yield self
        finally:
            root.removeHandler(self)
            ours.removeHandler(self)
            root.setLevel(before[0])
            ours.setLevel(before[1])


class Watched(Served):
    """A gateway whose raw answers are kept, to be read strictly at the end."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        super().__init__(gateway, port)
        self.exchanges: list[tuple[bytes, bytes]] = []

    async def raw(self, request: bytes, *, until_close: bool = True) -> bytes:
        answer = await super().raw(request, until_close=until_close)
        if until_close:
            self.exchanges.append((request, answer))
        return answer

    async def ask(self, body: bytes, *, key: str | None = KEY, path: str = "/v1/chat/completions", more: str = "") -> Response:
        """One request on a connection of its own, and its answer, read strictly."""
        request = chat_request(body, key=key, path=path, more=f"Connection: close\r\n{more}")
        (only,) = responses(await self.raw(request), "POST")
        return only

    def check_answers(self, canaries: Collection[str]) -> None:
        """O1 and O4."""
        for request, answer in self.exchanges:
            for response in responses(answer, *[method.decode() for method in _METHOD.findall(request)]):
                check_honest(response)
            assert not [canary for canary in canaries if canary.encode() in answer], "a secret stands in an answer"

    async def settled(self) -> None:
        """O2 and O3: no request, no transfer, no watch and no place is left."""
        await until(lambda: not self.held(), SETTLE_SECONDS, self.held)

    def held(self) -> dict[str, int]:
        """What is still held, by name; empty when all is given back."""
        services = self.gateway.services
        client: Any = services.ollama._client
        line: Any = getattr(services.hooks._manager.get_plugin("rate_limit"), "_line", None)
        found = {
            "requests": len(services.at_work),
            "transfers": len(client._transfers),
            "connections that are not idle": len(client._connections) - len(client._pool),
            "watches": len(getattr(services.presence, "_watched", ())),
            "waiting": line.waiting if line else 0,
            "places": sum(line._running.values()) if line else 0,
        }
        return {name: number for name, number in found.items() if number}

    async def healthy(self) -> None:
        """O6. The best of a few: the machine is shared with other programs."""
        times = []
        for _ in range(5):
            began = time.perf_counter()
            answer = await Served.raw(self, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            times.append(time.perf_counter() - began)
            assert b" 200 " in answer
            if times[-1] < HEALTH_SECONDS:
                return
        raise AssertionError(f"/healthz takes {min(times):.3f} s at best")


@asynccontextmanager
async def serving(
    url: str, /, *, canaries: Collection[str] = (KEY,), expected: Collection[str] = (), **settings: Any
) -> AsyncIterator[Watched]:
    """As `serving.serving`. `canaries` must occur in no log and no answer; events named in `expected` may be logged with a traceback."""
    descriptors, tasks = count_descriptors(), len(asyncio.all_tasks())
    with Heard().listening() as heard:
        async with plain.serving(url, **settings) as served:
            watched = Watched(served.gateway, served.port)
            yield watched
            await watched.settled()
            await watched.healthy()
        await until(lambda: len(asyncio.all_tasks()) <= tasks, SETTLE_SECONDS, asyncio.all_tasks)
        await until(lambda: count_descriptors() <= descriptors, SETTLE_SECONDS, lambda: (descriptors, count_descriptors()))
    watched.check_answers(canaries)
    assert heard.tracebacks(expected) == []
    assert [canary for canary in canaries if canary in heard.text] == []


def count_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


async def until(true: Callable[[], object], limit: float = 5.0, what: Callable[[], object] = lambda: "") -> None:
    """Wait for what has no event of its own, turn by turn of the loop; `what` tells what was there instead."""
    try:
        async with asyncio.timeout(limit):
            while not true():  # noqa: ASYNC110  # conditions of a whole process have no event
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"not within {limit} s: {what()}") from None
