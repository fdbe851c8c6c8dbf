"""A gateway as people run it: a process of its own, with a configuration file, signals and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

KEY = "a key for tests"
AUTH: dict[str, Any] = {"auth": {"keys": [{"name": "tester", "key": KEY}]}}
LOG: dict[str, Any] = {"logging": {"directory": "logs"}}
LIMIT_SECONDS = 30.0


async def until(fact: Callable[[], Any], seconds: float = LIMIT_SECONDS) -> Any:
    """What `fact` gives once it gives something."""
    async with asyncio.timeout(seconds):
        while not (found := fact()):  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.01)
    return found


@dataclass
class Program:
    """A running `tornado-gateway serve` in a folder of its own."""

    process: asyncio.subprocess.Process
    folder: Path
    port: int = 0
    out: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    slack: float = 1.0
    """What is added to limits in seconds: as long as the start took, which tells how busy the machine is."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def workers(self) -> list[int]:
        """Processes below this one, the oldest first."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = [child for child in psutil.Process(self.pid).children() if child.status() != psutil.STATUS_ZOMBIE]
            return [child.pid for child in sorted(children, key=lambda child: child.create_time())]
        return []

    def signal(self, number: int) -> float:
        """When it was sent."""
        self.process.send_signal(number)
        return time.monotonic()

    async def exit(self, seconds: float = LIMIT_SECONDS) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def log(self) -> list[dict[str, Any]]:
        file = self.folder / "logs" / "info.log"
        if not file.exists():
            return []
        # Whole lines only: a write that goes on while it is read shows a part of itself.
        return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == name]

    async def connect(self, address: str = "127.0.0.1") -> Connection:
        connection = Connection(*await asyncio.open_connection(address, self.port))
        self.connections.append(connection)
        return connection

    async def ask(self, path: str = "/v1/chat/completions", body: Any = None, *, key: str = KEY) -> Reply:
        """One request on a connection of its own."""
        async with contextlib.aclosing(await self.connect()) as connection:
            connection.send(path, body, key=key)
            return await connection.reply()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    """With its framing, where it is chunked."""

    @property
    def whole(self) -> bool:
        return self.body.endswith(b"0\r\n\r\n")

    @property
    def error(self) -> Any:
        return self.json()["error"]

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        found = re.findall(rb"^data: (.*)$", self.body, re.MULTILINE)
        return [line if line == b"[DONE]" else json.loads(line) for line in found]


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def aclose(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def send(self, path: str, body: Any = None, *, key: str = KEY) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        self.writer.write(head.encode() + data)

    async def head(self) -> Reply:
        async with asyncio.timeout(LIMIT_SECONDS):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = raw.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return Reply(int(first.split()[1]), headers, b"")

    async def reply(self) -> Reply:
        """To its own end, or to that of the connection."""
        reply = await self.head()
        async with asyncio.timeout(LIMIT_SECONDS):
            if "content-length" in reply.headers:
                reply.body = await self.reader.readexactly(int(reply.headers["content-length"]))
            else:
                while not reply.whole and (data := await self.reader.read(65536)):
                    reply.body += data
        return reply

    async def closed(self, seconds: float = LIMIT_SECONDS) -> bool:
        """Whether the gateway closes it, with nothing more to say, within the time."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read() == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def chat(stream: bool = True, text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": text}], **more}


def write_config(
    file: Path, url: str, *, plugins: Sequence[Any] = (LOG, AUTH), server: Mapping[str, Any] | None = None, **sections: Any
) -> None:
    """`plugins` and sections as in the configuration; put in place in one piece."""
    settings = {
        "server": {"port": 0, "drain_seconds": 5, **(server or {})},
        "upstream": {"url": url},
        "plugins": list(plugins),
        **sections,
    }
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(settings))
    fresh.replace(file)


def install_plugin(folder: Path, name: str, source: str) -> None:
    """Where programs that run in the folder find it; its class is `Plugin`."""
    (folder / f"{name}_plugin.py").write_text(source)
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[tornado_gateway]\n{name} = {name}_plugin:Plugin\n")


@asynccontextmanager
async def starting(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """`tornado-gateway serve` with `folder/config.yaml`; ended at the end, however the test went."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tornado_gateway", "serve", "-c", "config.yaml", *arguments),
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    running = Program(process, folder)
    assert process.stdout
    assert process.stderr
    reading = [
        asyncio.ensure_future(_read(process.stdout, running.out)),
        asyncio.ensure_future(_read(process.stderr, running.errors)),
    ]
    try:
        yield running
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        for connection in running.connections:
            await connection.aclose()
        # A worker that outlives its parent would keep the pipes open: the test goes red here.
        async with asyncio.timeout(5):
            await asyncio.gather(*reading)
        assert not [line for line in running.errors if "Traceback" in line or "never awaited" in line], running.errors


@asynccontextmanager
async def program(
    folder: Path,
    url: str,
    *arguments: str,
    workers: int = 1,
    plugins: Sequence[Any] = (LOG, AUTH),
    server: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """A gateway that serves."""
    write_config(folder / "config.yaml", url, plugins=plugins, server=server)
    more = ["--workers", str(workers)] if workers > 1 else []
    async with starting(folder, *more, *arguments, environment=environment) as running:
        await serves(running)
        if workers > 1 and LOG in plugins:
            await until(lambda: running.events("started"))
        yield running


async def serves(running: Program) -> None:
    """It has said where it listens."""

    def port() -> int:
        assert running.process.returncode is None, running.errors
        found = re.search(r"listens at https?://\S+:(\d+)", "".join(running.out))
        return int(found[1]) if found else 0

    running.port = await until(port)
    running.slack = time.monotonic() - running.began


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode())


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
