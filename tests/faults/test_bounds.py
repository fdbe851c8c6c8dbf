"""C33, C34, C37 and R30: more connections than there may be, one address that takes all, a loop that is never late."""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from processes import AUTH, LOG, Connection, Program, program, serves, starting, until, write_config
from serving import chat_request, serving

from tornado_gateway.testing import FakeOllama


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def answers(running: Program, address: str = "127.0.0.1") -> int | None:
    """The status of `/healthz` for a client with an address of its own; None when it is not answered."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, local_addr=(address, 0))
    except OSError:
        return None
    connection = Connection(reader, writer)
    try:
        connection.send("/healthz")
        return (await asyncio.wait_for(connection.reply(), 5)).status
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
    finally:
        await connection.aclose()


async def test_c33_a_thousand_connections_at_256_descriptors_are_refused_in_few_words(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    write_config(tmp_path / "config.yaml", ollama.url, plugins=[LOG, AUTH])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        context = starting(tmp_path)
        running = await context.__aenter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        await serves(running)
        process = psutil.Process(running.pid)
        silent = [await running.connect() for _ in range(1000)]
        before, began = process.cpu_times(), time.monotonic()
        statuses = {await answers(running) for _ in range(20)}
        await asyncio.sleep(1)
        after, took = process.cpu_times(), time.monotonic() - began

        assert statuses <= {503, None}
        assert (after.user + after.system - before.user - before.system) / took < 0.2
        assert len([line for line in running.log() if line["event"].startswith("connections_")]) <= 1 + took

        for connection in silent:
            await connection.aclose()
        freed = time.monotonic()
        while await answers(running) != 200:
            assert time.monotonic() - freed < 1 + running.slack
    finally:
        await context.__aexit__(None, None, None)


async def test_c33_without_any_descriptor_the_gateway_waits_and_goes_on(ollama: FakeOllama, tmp_path: Path) -> None:
    """The limit is lowered under its feet, so that its own cap does not help."""
    async with program(tmp_path, ollama.url) as running:
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (psutil.Process(running.pid).num_fds(), 4096))
        process = psutil.Process(running.pid)
        waiting = [await running.connect() for _ in range(5)]
        for connection in waiting:
            connection.send("/healthz")
        before = process.cpu_times()
        await until(lambda: running.events("connections_waiting"))
        await asyncio.sleep(1)
        after = process.cpu_times()

        assert after.user + after.system - before.user - before.system < 0.3
        assert len(running.events("connections_waiting")) == 1

        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        assert [(await connection.reply()).status for connection in waiting] == [200] * 5


async def test_c34_one_address_cannot_keep_another_out(ollama: FakeOllama, tmp_path: Path) -> None:
    server = {"max_connections": 200, "max_connections_per_address": 50}
    async with program(tmp_path, ollama.url, server=server) as running:
        greedy = [await running.connect() for _ in range(300)]
        await until(lambda: running.events("connections_refused"))

        assert [await answers(running, "127.0.0.2") for _ in range(10)] == [200] * 10
        assert await answers(running) in (503, None)
        for connection in greedy:
            await connection.aclose()
        await until(lambda: len(psutil.Process(running.pid).net_connections()) < 50)
        async with asyncio.timeout(10):
            while await answers(running) != 200:
                pass


BOMBS = {
    "depth": b'{"a":' * 1_000_000,
    "many empty objects": b"[" + b"{}," * 6_000_000 + b"{}]",
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(1_000_000)) + b"}",
    "a long number": b'{"model": ' + b"9" * 5000 + b"}",
    "no JSON": b'{"model": NaN}',
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_c37_a_bomb_is_refused_and_the_loop_is_not_late(ollama: FakeOllama, bomb: str) -> None:
    """In a machine with nothing else to do it is under 50 ms; here others compete for the processor."""
    async with serving(ollama.url) as served:
        lag = served.gateway.services.lag
        lag.worst_seconds = 0.0

        answer = await served.raw(chat_request(BOMBS[bomb], more="Connection: close\r\n"))

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] in ("invalid_json", "invalid_request")
        assert lag.worst_seconds < 0.5


def test_the_start_takes_what_the_descriptors_allow() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "from tornado_gateway.server import _connection_limit\n"
        "print(_connection_limit(1024), _connection_limit(10))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.split() == ["112", "10"]
