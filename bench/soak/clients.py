"""Clients of every kind: good ones that check each word, ones that leave, read nothing, send rubbish, or never finish a head."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.soak.world import KEYS

PATH = "/v1/chat/completions"


@dataclass
class Seen:
    """What clients saw, together."""

    whole: int = 0
    broken: int = 0
    """Ended with an error that says so, or with a refusal."""
    dishonest: int = 0
    """Looked whole and was not, or held other words than Ollama's: the one thing that must never be."""
    gaps: list[float] = field(default_factory=list)
    """Seconds between two tokens of a stream."""
    seconds: list[float] = field(default_factory=list)
    """Whole requests that were not streamed."""
    left: dict[str, float] = field(default_factory=dict)
    """When a client left, by its question; the monotonic clock."""
    statuses: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    """Requests that were safe to send again, and failed whenever they were."""
    attacks: int = 0


def request(question: str, *, stream: bool, key: int = 0, keep: bool = False) -> bytes:
    value = {"model": "llama3.2", "messages": [{"role": "user", "content": question}], "stream": stream}
    body = json.dumps(value).encode()
    end = "" if keep else "Connection: close\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer soak-key-{key % KEYS}\r\n{end}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def stream(port: int, question: str, expected: str, seen: Seen, key: int = 0) -> None:
    """One stream to its end, each word checked, each pause measured."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    words: list[str] = []
    done = failed = terminated = False
    last: float | None = None
    try:
        writer.write(request(question, stream=True, key=key))
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                done = True
            elif line.startswith(b'data: {"error"'):
                failed = True
            elif line.startswith(b"data: "):
                now = time.perf_counter()
                delta = json.loads(line[6:])["choices"][0]["delta"].get("content")
                if delta:
                    words.append(delta)
                    if last is not None:
                        seen.gaps.append(now - last)
                    last = now
            terminated = line == b"0\r\n" or (terminated and line == b"\r\n")
    except OSError:
        failed = True
    finally:
        writer.close()
    if done and terminated and not failed:
        seen.whole += "".join(words) == expected
        seen.dishonest += "".join(words) != expected
    else:
        seen.broken += 1
        seen.dishonest += done or terminated


async def leave(port: int, question: str, seen: Seen, chance: random.Random, longest: float = 0.3) -> None:
    """Leave with FIN, RST, a half close or behind a stray byte, at any moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(question, stream=chance.random() < 0.7))
    await asyncio.sleep(chance.uniform(0, longest))
    match chance.randrange(4):
        case 0:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        case 1:
            writer.write(b"\r")
        case 2:
            writer.write(request("behind the first", stream=False))
    seen.left[question] = time.monotonic()
    writer.transport.abort() if chance.random() < 0.5 else writer.close()
    del reader


async def ask(port: int, question: str, seen: Seen, key: int = 0, tries: int = 1) -> None:
    """A request that is not streamed; sent again only where the gateway says that it may be."""
    for _ in range(tries):
        began = time.perf_counter()
        status, head, _ = await fetch(port, request(question, stream=False, key=key))
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
        if status == 200:
            seen.whole += 1
            seen.seconds.append(time.perf_counter() - began)
            return
        if status and "x-should-retry: true" not in head.lower():
            seen.broken += 1
            return
        await asyncio.sleep(0.3)
    seen.lost += 1


async def fetch(port: int, raw: bytes, source: str | None = None) -> tuple[int, str, bytes]:
    """Status (0: no connection, or none to the end), head and body."""
    local = None if source is None else (source, 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
    except OSError:
        return 0, "", b""
    try:
        writer.write(raw)
        async with asyncio.timeout(30):
            answer = await reader.read()
    except (OSError, TimeoutError):
        return 0, "", b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), head.decode("latin-1"), body


async def stall(port: int, seen: Seen) -> None:
    """Ask for a stream and read nothing, until it is cut off."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request("I read nothing", stream=True))
        seen.attacks += 1
        await asyncio.sleep(8)


async def hold(port: int, data: bytes, seconds: float, seen: Seen, source: str = "127.0.0.2") -> None:
    """Send the begin of a request, one byte at a time or nothing at all, and stay."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    except OSError:
        return
    seen.attacks += 1
    try:
        async with asyncio.timeout(seconds):
            for byte in data:
                if reader.at_eof():
                    return
                writer.write(bytes([byte]))
                await asyncio.sleep(1)
            await reader.read()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


RUBBISH = (
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST "
    + PATH.encode()
    + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer soak-key-1\r\nContent-Length: 8\r\nConnection: close\r\n\r\n[[[[[[[[",
)


def bomb() -> bytes:
    body = b'{"model":"llama3.2","messages":[' + b"{}," * 3_000_000 + b"{}]}"
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer soak-key-1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def again(until: float, one: Callable[[], Coroutine[Any, Any, None]], pause: float = 0.0) -> None:
    """One after the other until the clock says so."""
    while time.monotonic() < until:
        await one()
        await asyncio.sleep(pause)


def probe(port: int, seconds: float, every: float = 0.1) -> list[float]:
    """How long `/healthz` takes meanwhile. Blocks: for a process of its own, so that it does not measure the other clients."""
    until, found = time.monotonic() + seconds, []
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                good = b" 200 " in client.recv(4096)
        except OSError:
            good = False
        found.append(time.perf_counter() - began if good else 30.0)
        time.sleep(every)
    return found


async def direct(port: int, question: str, gaps: list[float]) -> None:
    """A stream from Ollama itself: what the simulation and these clients add to the pauses by themselves."""
    body = json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": question}]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    last: float | None = None
    async for line in reader:
        if line.startswith(b'{"model"'):
            json.loads(line)
            now = time.perf_counter()
            if last is not None:
                gaps.append(now - last)
            last = now
    writer.close()


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")
