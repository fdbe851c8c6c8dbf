"""C48 to C50: what a signal does to a process that serves. Real processes, real signals."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from faults.deep import DEEP
from processes import AUTH, KEY, LOG, Connection, Program, chat, install_plugin, program, serves, starting, until, write_config

from tornado_gateway.testing import Behaviour, FakeOllama, hang

GRACE = 1.5
SERVER = {"drain_seconds": GRACE}
SHORT = Behaviour(text="one two three", tokens_per_second=8)
LONG = Behaviour(text="word " * 200, tokens_per_second=8)

UPLOAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n"
    f"Authorization: Bearer {KEY}\r\n\r\n"
).encode()
"""The head of a request; 100 says that its body is waited for."""

HANGING = """
import asyncio
from pydantic import BaseModel
from tornado_gateway.hookspecs import hookimpl

class Plugin:
    class Settings(BaseModel):
        pass

    def __init__(self, settings):
        pass

    @hookimpl
    async def shutdown(self):
        await asyncio.Event().wait()
"""

STOPS = [signal.SIGTERM, signal.SIGINT] if DEEP else [signal.SIGINT]
"""Both take the same road; each process costs seconds on a busy machine."""


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


async def streams(running: Program, ollama: FakeOllama, behaviour: Behaviour, count: int) -> list[Connection]:
    """Streams whose heads have come."""
    ollama.next(*[behaviour] * count)
    connections = [await running.connect() for _ in range(count)]
    for connection in connections:
        connection.send("/v1/chat/completions", chat())
    for connection in connections:
        assert (await connection.head()).status == 200
    return connections


async def rest(connection: Connection) -> bytes:
    async with asyncio.timeout(20):
        return await connection.reader.read()


async def refused(running: Program) -> bool:
    try:
        await (await running.connect()).aclose()
    except OSError:
        return True
    return False


async def test_c48_after_sigterm_streams_go_on_for_the_grace_and_the_rest_is_told(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, server=SERVER) as running:
        short = await streams(running, ollama, SHORT, 10)
        long = await streams(running, ollama, LONG, 10)

        told = running.signal(signal.SIGTERM)
        ends = await asyncio.gather(*[rest(connection) for connection in short + long])
        code = await running.exit()
        took = time.monotonic() - told

        assert all(data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for data in ends[:10])
        assert all(b'"code":"shutting_down"' in data and not data.endswith(b"0\r\n\r\n") for data in ends[10:])
        assert code == 0
        assert GRACE <= took <= GRACE + 1 + running.slack
        assert sorted(line["ended"] for line in running.events("request")) == ["complete"] * 10 + ["shutdown"] * 10


async def test_c48_readiness_ends_at_once_and_nobody_new_comes_in(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, server=SERVER) as running:
        await streams(running, ollama, LONG, 1)
        kept, probe, late = [await running.connect() for _ in range(3)]
        for connection in (kept, probe, late):
            connection.send("/readyz")
            assert (await connection.reply()).status == 200

        told = running.signal(signal.SIGTERM)
        await until(lambda: running.events("stopping"))
        probe.send("/readyz")
        ready = await probe.reply()
        answered = time.monotonic()
        late.send("/v1/chat/completions", chat())
        turned_away = await late.reply()

        assert ready.status == 503
        assert ready.json()["reason"] == "shutting down"
        assert ready.headers["connection"] == turned_away.headers["connection"] == "close"
        assert answered - told < 0.1 + running.slack
        assert (turned_away.status, turned_away.error["code"]) == (503, "shutting_down")
        assert await refused(running)
        assert await kept.closed(1 + running.slack)
        assert await running.exit() == 0


async def test_c48_an_answer_that_is_not_streamed_says_that_the_connection_ends(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, server=SERVER) as running:
        ollama.next(Behaviour(text="done", first_byte_seconds=0.5))
        connection = await running.connect()
        connection.send("/v1/chat/completions", chat(stream=False))
        await until(lambda: len(ollama.ledger.requests) > 1)

        running.signal(signal.SIGTERM)
        reply = await connection.reply()

        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await running.exit(2 + running.slack) == 0


@pytest.mark.parametrize("number", STOPS)
async def test_c48_a_second_signal_does_not_wait(ollama: FakeOllama, tmp_path: Path, number: int) -> None:
    async with program(tmp_path, ollama.url, server={"drain_seconds": 20}) as running:
        (stream,) = await streams(running, ollama, LONG, 1)
        running.signal(number)
        await until(lambda: running.events("stopping"))

        told = running.signal(number)
        end = await rest(stream)
        code = await running.exit()

        assert time.monotonic() - told <= 1 + running.slack
        assert code == 0
        assert b'"code":"shutting_down"' in end


async def test_an_idle_server_stops_within_half_a_second(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as running:
        told = running.signal(signal.SIGINT)

        assert await running.exit() == 0
        assert time.monotonic() - told < 0.8 + running.slack
        assert running.errors == [line for line in running.errors if "Traceback" not in line]


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize("loaded", ["pydantic_core", "uvloop"])
async def test_c49_signals_during_the_start_are_no_accidents(
    ollama: FakeOllama, tmp_path: Path, number: int, loaded: str
) -> None:
    """While the configuration is read, and while the loop begins: no traceback, no wait."""
    write_config(tmp_path / "config.yaml", ollama.url)
    async with starting(tmp_path) as running:
        maps = Path(f"/proc/{running.pid}/maps")
        await until(lambda: loaded in maps.read_text())

        running.signal(number)

        assert await running.exit(2 + running.slack) in (0, 1, -number)


async def test_c49_sigterm_while_a_plugin_starts_ends_the_start(ollama: FakeOllama, tmp_path: Path) -> None:
    """The key file is on a disk that has gone: reading it blocks for ever."""
    os.mkfifo(tmp_path / "keys", 0o600)
    entry = {"auth": {"key_file": "keys", "keys": [{"name": "a", "key": "b"}]}}
    write_config(tmp_path / "config.yaml", ollama.url, plugins=[LOG, entry], server={"drain_seconds": 0.5})
    async with starting(tmp_path) as running:
        await until(lambda: (tmp_path / "logs" / "info.log").exists())

        told = running.signal(signal.SIGTERM)

        assert await running.exit() == 0
        assert time.monotonic() - told <= 1.5 + running.slack


async def test_c49_sigterm_with_a_plugin_that_does_not_shut_down(ollama: FakeOllama, tmp_path: Path) -> None:
    install_plugin(tmp_path, "hanging", HANGING)
    async with program(tmp_path, ollama.url, plugins=[LOG, "hanging"], server={"drain_seconds": 1}) as running:
        told = running.signal(signal.SIGTERM)

        assert await running.exit() == 0
        assert time.monotonic() - told <= 2 + running.slack
        (failed,) = running.events("hook_failed")
        assert (failed["plugin"], failed["hook"]) == ("hanging", "shutdown")


async def test_c49_sigterm_while_ollama_hangs(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, server={"drain_seconds": 0.5}) as running:
        ollama.next(hang(), hang())
        waiting = [await running.connect() for _ in range(2)]
        waiting[0].send("/v1/chat/completions", chat())
        waiting[1].send("/v1/chat/completions", chat(stream=False))
        await until(lambda: len(running_calls(ollama)) == 2)

        told = running.signal(signal.SIGTERM)
        replies = await asyncio.gather(*[connection.reply() for connection in waiting])
        code = await running.exit()

        assert [(reply.status, reply.error["code"]) for reply in replies] == [(503, "shutting_down")] * 2
        assert all(reply.headers["connection"] == "close" and "retry-after" in reply.headers for reply in replies)
        assert code == 0
        assert time.monotonic() - told <= 1.5 + running.slack


async def test_c49_sigterm_while_a_body_is_coming_in(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, server={"drain_seconds": 0.5}) as running:
        uploader = await running.connect()
        uploader.writer.write(UPLOAD)
        assert (await uploader.head()).status == 100
        uploader.writer.write(b"{")

        told = running.signal(signal.SIGTERM)
        reply = await uploader.reply()
        code = await running.exit()

        assert (reply.status, reply.error["code"], reply.headers["connection"]) == (503, "shutting_down", "close")
        assert code == 0
        assert time.monotonic() - told <= 1.5 + running.slack
        assert [(line["ended"], line["status"]) for line in running.events("request")] == [("shutdown", 503)]
        assert running.events("hook_times"), "the plugins were not shut down"


def running_calls(ollama: FakeOllama) -> list[object]:
    return [request for request in ollama.ledger.requests if request.path == "/api/chat"]


async def test_c49_sigterm_while_a_reader_takes_nothing(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, server={"drain_seconds": 0.5}) as running:
        ollama.next(Behaviour(text="word " * 2_000_000))
        stalled = await running.connect()
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket it can
        stalled.send("/v1/chat/completions", chat())
        await until(lambda: running_calls(ollama))

        told = running.signal(signal.SIGTERM)

        assert await running.exit() == 0
        assert time.monotonic() - told <= 1.5 + running.slack


async def test_c49_sigterm_during_a_reload_that_never_ends(ollama: FakeOllama, tmp_path: Path) -> None:
    """A file system that has gone: reading the file blocks for ever."""
    async with program(tmp_path, ollama.url, server={"drain_seconds": 0.5}) as running:
        running.config.unlink()
        os.mkfifo(running.config)
        running.signal(signal.SIGHUP)
        assert (await running.ask("/healthz")).status == 200

        told = running.signal(signal.SIGTERM)

        assert await running.exit() == 0
        assert time.monotonic() - told <= 1.5 + running.slack


async def test_c50_a_hundred_reloads_touch_no_stream(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as running:
        live = await streams(running, ollama, Behaviour(text="word " * 40, tokens_per_second=25), 50)
        ends = [asyncio.ensure_future(rest_of_stream(connection)) for connection in live]

        for _ in range(100):
            running.signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
        await until(lambda: running.events("reloaded"))

        assert all(b"[DONE]" in data for data in await asyncio.gather(*ends))
        lines = await until(lambda: len(found := running.events("request")) == 50 and found)
        assert {line["ended"] for line in lines} == {"complete"}


async def rest_of_stream(connection: Connection) -> bytes:
    async with asyncio.timeout(20):
        return await connection.reader.readuntil(b"\r\n0\r\n\r\n")


async def test_c50_a_key_counts_and_a_revoked_one_does_not_within_a_second(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as running:
        assert (await running.ask("/v1/models")).status == 200
        write_config(running.config, ollama.url, plugins=[LOG, {"auth": {"keys": [{"name": "tester", "key": "another"}]}}])

        told = running.signal(signal.SIGHUP)
        while (await running.ask("/v1/models", key="another")).status != 200:
            assert time.monotonic() - told < 1 + running.slack

        assert (await running.ask("/v1/models", key=KEY)).status == 401


INVALID = (
    "server: {port: 0\n",
    "server: {port: 0}\nserver: {port: 0}\n",
    "server: {prot: 0}\n",
    "plugins: [nobody]\n",
    "server: {tls: {certificate: nowhere, key: nowhere}}\n",
    None,
)
"""Not YAML, a key twice, an unknown key, a plugin that is not installed, a certificate that is not there, no file."""


async def test_c50_an_invalid_file_changes_nothing_and_says_so(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as running:
        for number, text in enumerate(INVALID, 1):
            if text is None:
                running.config.unlink()
            else:
                running.config.write_text(text)
            running.signal(signal.SIGHUP)
            await until(partial(refusals, running, min(number, 5)))

            assert (await running.ask("/v1/models")).status == 200

        write_config(running.config, ollama.url)
        running.signal(signal.SIGHUP)
        await until(lambda: running.events("reloaded"))


def refusals(running: Program, number: int) -> bool:
    """The sixth in a row is counted, not told: repeated lines are damped."""
    return len(running.events("reload_refused")) >= number


async def test_c50_what_needs_a_restart_is_named(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as running:
        write_config(running.config, "http://127.0.0.1:1", server={"port": running.port + 1})

        running.signal(signal.SIGHUP)
        (said,) = await until(lambda: running.events("reloaded"))

        assert said["level"] == "WARNING"
        assert said["needs_restart"] == ["server.port", "upstream"]
        assert (await running.ask("/v1/models")).status == 200


async def test_a_reload_asked_for_during_a_reload_is_not_lost(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as running:
        for number in range(20):
            entry = {"keys": [{"name": "tester", "key": f"key {number}"}]}
            write_config(running.config, ollama.url, plugins=[LOG, {"auth": entry}])
            running.signal(signal.SIGHUP)

        async with asyncio.timeout(5):
            while (await running.ask("/v1/models", key="key 19")).status != 200:
                pass


async def test_r29_a_port_that_is_taken_is_one_line(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url) as first:
        for more in ([], ["--workers", "2"]):
            async with starting(tmp_path, "--port", str(first.port), *more) as second:
                assert await second.exit() == 1
            (line,) = second.errors
            assert "another program does" in line


async def test_the_server_starts_without_ollama_and_says_so(tmp_path: Path) -> None:
    write_config(tmp_path / "config.yaml", "http://127.0.0.1:1", plugins=[LOG, AUTH])
    async with starting(tmp_path) as running:
        await serves(running)

        assert (await running.ask("/readyz")).status == 503
