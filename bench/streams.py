"""The load of streams: raw sockets on one loop, in a process of its own so that it costs the measured ones nothing.

`python -m bench.streams SPEC` (JSON, see `Spec`) prints `begin` when all streams run, `end` when the time is over, and then its
findings as JSON. Only tokens and times between the two lines count; the parent reads CPU times at both.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

from bench.prompts import TOKEN, Plan, chat_body
from bench.upstream import loop_factory

_END = b"\r\n0\r\n\r\n"
_BEGIN_LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Spec:
    port: int
    path: str
    streams: int
    seconds: float
    plan: Plan
    headers: dict[str, str] = field(default_factory=dict)
    ramp_seconds: float = 1.0
    """The streams begin spread over so much time, so that their tokens do not come at one instant."""
    salt: str = ""
    """Makes the prompts of this run different from those of every other one."""


@dataclass
class Findings:
    """What was seen between `begin` and `end`."""

    tokens: int = 0
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    counting: bool = False


class Stream(asyncio.Protocol):
    """One connection that asks for stream after stream; its first token is timed, and every gap after it."""

    def __init__(self, run: Run, index: int) -> None:
        self._run = run
        self._index = index
        self._count = 0
        self._asked = 0.0
        self._last = 0.0
        self._tail = b""
        self._fresh = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(self, exc, unfinished=not self._fresh or self._asked == 0)

    def close(self) -> None:
        self._transport.abort()

    def _ask(self) -> None:
        self._count += 1
        self._fresh, self._last, self._tail = True, 0.0, b""
        self._asked = time.perf_counter()
        self._transport.write(self._run.request(f"{self._index}-{self._count}"))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        found = self._run.found
        if self._fresh:
            if not data.startswith(b"HTTP/1.1 200"):
                self._run.failed(data)
                self._transport.abort()
                return
            self._fresh = False
        data = self._tail + data
        tokens = data.count(TOKEN)
        if tokens:
            if not self._last:
                self._run.started(self._index)
            if found.counting:
                found.tokens += tokens
                if self._last:
                    found.gaps_ms.append((now - self._last) * 1000)
                else:
                    found.first_ms.append((now - self._asked) * 1000)
            self._last = now
        if data.endswith(_END):
            found.answers += found.counting
            self._ask()
        else:
            # What may be the begin of a token's text, and no whole one, which would be counted twice.
            self._tail = data[-(len(TOKEN) - 1) :]


class Run:
    """All streams of one load."""

    def __init__(self, spec: Spec) -> None:
        self.found = Findings()
        self._spec = spec
        self._streams: set[Stream] = set()
        self._running: set[int] = set()
        self._all_run = asyncio.Event()
        self._over = False
        lines = [f"POST {spec.path} HTTP/1.1", f"Host: 127.0.0.1:{spec.port}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in spec.headers.items()]
        self._head = "\r\n".join(lines).encode() + b"\r\nContent-Length: %d\r\n\r\n%s"

    def request(self, number: str) -> bytes:
        body = chat_body(self._spec.plan, f"{self._spec.salt}-{number}", stream=True)
        return self._head % (len(body), body)

    def started(self, index: int) -> None:
        self._running.add(index)
        if len(self._running) >= self._spec.streams:
            self._all_run.set()

    def failed(self, data: bytes) -> None:
        self.found.errors.append(data[:300].decode("latin-1"))

    def lost(self, stream: Stream, exc: Exception | None, *, unfinished: bool) -> None:
        self._streams.discard(stream)
        if not self._over and len(self.found.errors) < 20:
            self.found.errors.append(f"connection lost: {exc}, in mid answer: {unfinished}")

    async def measure(self) -> Findings:
        await self._connect()
        try:
            async with asyncio.timeout(_BEGIN_LIMIT_SECONDS):
                await self._all_run.wait()
        except TimeoutError:
            self.found.errors.append(f"only {len(self._running)} of {self._spec.streams} streams began")
        self.found.counting = True
        print("begin", flush=True)
        await asyncio.sleep(self._spec.seconds)
        self.found.counting = False
        print("end", flush=True)
        self._over = True
        for stream in [*self._streams]:
            stream.close()
        return self.found

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._spec.ramp_seconds / self._spec.streams
        for index in range(self._spec.streams):
            stream = Stream(self, index)
            self._streams.add(stream)
            await loop.create_connection(partial(_the, stream), "127.0.0.1", self._spec.port)
            await asyncio.sleep(pause)


def _the(stream: Stream) -> Stream:
    """What a connection is made of: asyncio asks for a way to make it."""
    return stream


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, or None of nothing."""
    return sorted(values)[min(len(values) - 1, math.ceil(len(values) * share) - 1)] if values else None


def summary(found: Findings) -> dict[str, Any]:
    shown: dict[str, Any] = {"tokens": found.tokens, "answers": found.answers, "errors": found.errors[:3]}
    for name, values in (("first_ms", found.first_ms), ("gap_ms", found.gaps_ms)):
        shown[name] = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "count": len(values)}
    return shown


def command(spec: Spec) -> list[str]:
    return [sys.executable, "-m", "bench.streams", json.dumps(asdict(spec))]


async def _main(raw: str) -> None:
    values = json.loads(raw)
    spec = Spec(**{**values, "plan": Plan(**values["plan"])})
    print(json.dumps(summary(await Run(spec).measure())), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_main(sys.argv[1]))
