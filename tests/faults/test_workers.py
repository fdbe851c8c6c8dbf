"""C51, and C45 and C46 over several processes: workers are replaced, none is left behind, and no limit counts double."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.deep import DEEP
from processes import AUTH, KEY, LOG, Program, Reply, alive, chat, end, program, starting, until, write_config

from tornado_gateway.testing import Behaviour, FakeOllama

STOPS = [signal.SIGTERM, signal.SIGINT] if DEEP else [signal.SIGINT]
"""Both take the same road; each process costs seconds on a busy machine."""


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


def limited(**settings: Any) -> list[Any]:
    return [LOG, AUTH, {"rate_limit": {"requests_per_minute": None, **settings}}]


async def test_c51_a_worker_that_is_killed_is_replaced_and_connections_wait_for_the_next(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    async with program(tmp_path, ollama.url, workers=2) as running:
        killed, other = running.workers()

        os.kill(killed, signal.SIGKILL)
        when = time.monotonic()
        answers = await asyncio.gather(*[running.ask("/healthz") for _ in range(20)])
        workers = await until(lambda: len(now := running.workers()) == 2 and now)
        took = time.monotonic() - when

        assert took < 0.5 + running.slack
        assert workers[0] == other
        assert {answer.status for answer in answers} == {200}
        (said,) = await until(lambda: running.events("worker_left"))
        assert said["pid"] == killed


async def test_c51_a_worker_that_hangs_is_replaced_within_ten_seconds(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2) as running:
        hung, _ = running.workers()

        os.kill(hung, signal.SIGSTOP)
        when = time.monotonic()
        await until(lambda: hung not in running.workers() and len(running.workers()) == 2)

        assert time.monotonic() - when < 10 + running.slack
        assert await until(lambda: running.events("worker_hung"))


async def test_a_worker_that_cannot_be_started_for_a_while_is_started_then(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2) as running:
        killed, _ = running.workers()
        limits = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (6, limits[1]))

        os.kill(killed, signal.SIGKILL)
        (said, *_) = await until(lambda: running.events("worker_not_started"))
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, limits)
        await until(partial(replaced, running, killed))

        assert (said["level"], said["worker"], said["reason"]) == ("ERROR", 0, "Too many open files")
        assert {reply.status for reply in [await running.ask("/healthz") for _ in range(12)]} == {200}


MOODY = """
import asyncio
import os
from pathlib import Path
from pydantic import BaseModel, model_validator
from tornado_gateway.hookspecs import StartupRefused, hookimpl

class Moody:
    class Settings(BaseModel):
        mood: str = "good"

        @model_validator(mode="after")
        def not_at_that_place(self):
            if Path(str(os.getpid())).exists():
                raise ValueError("not in this process")
            return self

    def __init__(self, settings):
        self.mood = settings.mood

    @hookimpl
    async def startup(self, server):
        if self.mood == "bad":
            raise StartupRefused("not in this mood")
        if Path("away").exists() and self.mood != "patient":
            raise StartupRefused("the database is away")
        if Path("silent").exists():
            await asyncio.sleep(3600)

    @hookimpl
    async def reconfigure(self, settings):
        if settings.mood == "bad":
            raise StartupRefused("not in this mood")
"""


def install_moody(folder: Path) -> list[Any]:
    """A plugin that cannot start while there is a file `away`, and does not come to an end with it while there is one `silent`.

    It refuses `mood: bad` at the start and on a reload, and all settings in a process for whose number there is a file.
    """
    (folder / "moody.py").write_text(MOODY)
    about = folder / "moody-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[tornado_gateway]\nmoody = moody:Moody\n")
    return [LOG, AUTH, "moody"]


async def healthy(running: Program, count: int = 20) -> bool:
    """Whether connections of that number are all served."""
    async with asyncio.timeout(5 + running.slack):
        return {(await running.ask("/healthz")).status for _ in range(count)} == {200}


async def test_c51_a_worker_that_cannot_be_replaced_leaves_its_connections_to_the_others(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=install_moody(tmp_path)) as running:
        _, killed = running.workers()
        (tmp_path / "away").touch()

        os.kill(killed, signal.SIGKILL)
        (said, *_) = await until(lambda: running.events("worker_not_started"))
        assert await healthy(running)
        await until(lambda: len(running.events("worker_not_started")) == 2)  # also while another start is tried
        assert await healthy(running)
        (tmp_path / "away").unlink()
        await until(partial(replaced, running, killed))

        assert (said["level"], said["worker"], said["reason"]) == ("ERROR", 1, "the database is away")
        assert "the database is away" in (tmp_path / "logs" / "error.log").read_text()
        assert len(running.events("worker_left")) == 1
        assert await healthy(running)


async def test_c51_when_no_worker_can_be_replaced_connections_are_refused_until_one_can(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=install_moody(tmp_path)) as running:
        (tmp_path / "away").touch()

        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
        await until(lambda: len({said["worker"] for said in running.events("worker_not_started")}) == 2)
        with pytest.raises(ConnectionRefusedError):
            await running.connect()
        (tmp_path / "away").unlink()
        await until(partial(accepts, running.port))

        assert await healthy(running)


async def test_c51_a_worker_whose_start_takes_for_ever_keeps_nobody_waiting(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=install_moody(tmp_path)) as running:
        _, killed = running.workers()
        (tmp_path / "silent").touch()

        os.kill(killed, signal.SIGKILL)
        (said,) = await until(lambda: running.events("worker_not_started"))
        await until(partial(replaced, running, killed))  # by one that is not ready either, and nobody waits for

        assert "not ready after 10 s" in said["reason"]
        assert await healthy(running)


async def test_a_server_has_started_also_when_a_worker_died_before_it_was_ready(ollama: FakeOllama, tmp_path: Path) -> None:
    write_config(tmp_path / "config.yaml", ollama.url)
    async with starting(tmp_path, "--workers", "2") as running:
        _, killed = await until(lambda: len(now := running.workers()) == 2 and now)

        os.kill(killed, signal.SIGKILL)

        (said,) = await until(lambda: running.events("started"))
        assert said["workers"] == 2
        assert [line["reason"] for line in running.events("worker_not_started")] == ["ended by signal 9"]


async def test_c51_no_worker_outlives_its_parent(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2) as running:
        workers = running.workers()
        os.kill(workers[0], signal.SIGSTOP)

        end(running.pid)

        await until(lambda: not any(alive(worker) for worker in workers), 1 + running.slack)


@pytest.mark.parametrize("number", STOPS)
async def test_c51_a_signal_to_the_parent_drains_all(ollama: FakeOllama, tmp_path: Path, number: int) -> None:
    async with program(tmp_path, ollama.url, workers=2, server={"drain_seconds": 3}) as running:
        workers = running.workers()
        ollama.next(*[Behaviour(text="one two three four", tokens_per_second=8)] * 8)
        streams = [await running.connect() for _ in range(8)]
        for stream in streams:
            stream.send("/v1/chat/completions", chat())
        for stream in streams:
            await stream.head()

        running.signal(number)
        ends = await asyncio.gather(*[stream.reader.read() for stream in streams])

        assert all(b"[DONE]" in data for data in ends)
        assert await running.exit(4 + running.slack) == 0
        assert not any(alive(worker) for worker in workers)


@pytest.mark.parametrize("first", ["the workers", "the parent"])
async def test_c51_workers_that_are_told_by_two_drain_all_the_same(ollama: FakeOllama, tmp_path: Path, first: str) -> None:
    """As when a supervisor ends every process of a service: that is one wish to stop, not two."""
    async with program(tmp_path, ollama.url, workers=2) as running:
        ollama.next(Behaviour(text="one two three four five six seven eight", tokens_per_second=8))
        stream = await running.connect()
        stream.send("/v1/chat/completions", chat())
        await stream.head()
        workers = running.workers()

        if first == "the parent":
            running.signal(signal.SIGTERM)
            await until(lambda: len(running.events("stopping")) == 3)
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):  # who has no stream may have gone
                os.kill(worker, signal.SIGTERM)
        if first == "the workers":
            await until(lambda: len(running.events("stopping")) == 2)
            running.signal(signal.SIGTERM)

        assert b"[DONE]" in await stream.reader.read()
        assert await running.exit() == 0


async def test_c51_a_second_signal_to_the_parent_does_not_wait(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, server={"drain_seconds": 20}) as running:
        ollama.next(Behaviour(text="word " * 500, tokens_per_second=8))
        stream = await running.connect()
        stream.send("/v1/chat/completions", chat())
        await stream.head()
        running.signal(signal.SIGTERM)
        await until(lambda: running.events("stopping"))

        told = running.signal(signal.SIGTERM)

        assert b'"code":"shutting_down"' in await stream.reader.read()
        assert await running.exit() == 0
        assert time.monotonic() - told < 1 + running.slack


async def test_a_worker_that_is_told_to_stop_is_replaced_while_it_drains(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2) as running:
        old = running.workers()

        os.kill(old[0], signal.SIGTERM)

        await until(lambda: old[0] not in running.workers() and len(running.workers()) == 2)
        assert (await running.ask("/healthz")).status == 200


async def test_c50_a_reload_reaches_every_worker(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2) as running:
        running.config.write_text("server: {prot: 0}\n")
        running.signal(signal.SIGHUP)
        await until(lambda: running.events("reload_refused"))
        assert {reply.status for reply in [await running.ask("/v1/models") for _ in range(10)]} == {200}

        write_config(running.config, ollama.url, plugins=[LOG, {"auth": {"keys": [{"name": "tester", "key": "another"}]}}])
        told = running.signal(signal.SIGHUP)
        await until(lambda: len(running.events("reloaded")) == 2)

        assert time.monotonic() - told < 1 + running.slack
        assert len(running.events("reload_refused")) == 1
        assert {reply.status for reply in [await running.ask("/v1/models") for _ in range(10)]} == {401}
        assert {line["worker"] for line in running.events("reloaded")} == {0, 1}


async def test_c50_a_reload_reaches_a_worker_that_is_about_to_start(ollama: FakeOllama, tmp_path: Path) -> None:
    """It was handed the configuration from before: a key that is revoked meanwhile must not work there."""
    async with program(tmp_path, ollama.url, workers=2) as running:
        killed, other = running.workers()
        os.kill(killed, signal.SIGKILL)
        started = await until(lambda: [worker for worker in running.workers() if worker not in (killed, other)])

        write_config(running.config, ollama.url, plugins=[LOG, {"auth": {"keys": [{"name": "tester", "key": "another"}]}}])
        running.signal(signal.SIGHUP)
        await until(lambda: len(running.events("reloaded")) == 2)

        assert running.workers() == [other, *started]
        assert {reply.status for reply in [await running.ask("/v1/models") for _ in range(10)]} == {401}


async def test_r29_a_worker_that_follows_knows_where_its_parent_listens(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, server={"host": "127.0.0.1"}) as running:
        write_config(running.config, ollama.url, server={"host": "0.0.0.0"})
        running.signal(signal.SIGHUP)
        await until(lambda: len(running.events("reloaded")) == 2)

        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
            await until(partial(replaced, running, worker))
        answers = [await named(running, "gateway.lan") for _ in range(6)]
        running.signal(signal.SIGHUP)
        said = await until(lambda: len(found := running.events("reloaded")) == 4 and found)

        assert {answer.status for answer in answers} == {403}
        assert [line["needs_restart"] for line in said] == [["server.host"]] * 4


async def test_a_worker_that_follows_takes_nothing_that_takes_a_restart(ollama: FakeOllama, tmp_path: Path) -> None:
    """Least of all a list without `auth`: it would serve without keys beside others that ask for them."""
    async with program(tmp_path, ollama.url, workers=2) as running:
        another = {"auth": {"keys": [{"name": "tester", "key": "another"}]}}
        for plugins in [LOG, another], []:
            before = len(running.events("reloaded"))
            write_config(running.config, "http://127.0.0.1:9", plugins=plugins, models={"aliases": {"mine": "llama3.2"}})
            running.signal(signal.SIGHUP)
            await until(partial(reloaded, running, before + 2))

        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
            await until(partial(replaced, running, worker))
        statuses = [
            {(await running.ask(body=chat(stream=False, model="mine"), key=key)).status for _ in range(10)}
            for key in ("", KEY, "another")
        ]

        assert statuses == [{401}, {401}, {200}]
        assert running.events("reloaded")[-1]["needs_restart"] == ["upstream", "plugins"]


async def test_a_worker_that_follows_is_not_handed_what_a_plugin_refused(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=install_moody(tmp_path)) as running:
        plugins = [LOG, {"auth": {"keys": [{"name": "tester", "key": "another"}]}}, {"moody": {"mood": "bad"}}]
        write_config(running.config, ollama.url, plugins=plugins)
        running.signal(signal.SIGHUP)
        await until(lambda: len(running.events("reloaded")) == 2)

        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
            await until(partial(replaced, running, worker))
        statuses = [{(await running.ask("/v1/models", key=key)).status for _ in range(10)} for key in (KEY, "another")]

        assert statuses == [{401}, {200}]
        assert not running.events("worker_not_started")


async def test_a_worker_that_cannot_take_what_the_others_took_is_replaced(ollama: FakeOllama, tmp_path: Path) -> None:
    """A key that is revoked must not work at it, nor come back when one of the others is replaced."""
    async with program(tmp_path, ollama.url, workers=2, plugins=install_moody(tmp_path)) as running:
        stubborn, other = running.workers()
        (tmp_path / str(stubborn)).touch()
        plugins = [LOG, {"auth": {"keys": [{"name": "tester", "key": "another"}]}}, "moody"]
        write_config(running.config, ollama.url, plugins=plugins)

        running.signal(signal.SIGHUP)
        await until(partial(replaced, running, stubborn))
        os.kill(other, signal.SIGKILL)
        await until(partial(replaced, running, other))
        statuses = [{(await running.ask("/v1/models", key=key)).status for _ in range(10)} for key in (KEY, "another")]

        assert statuses == [{401}, {200}]
        assert [line["pid"] for line in running.events("worker_left_behind")] == [stubborn]


async def test_a_plugin_that_is_off_the_list_and_gone_ends_no_reload(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=install_moody(tmp_path)) as running:
        (tmp_path / "moody-1.dist-info" / "entry_points.txt").unlink()
        for times, key in enumerate((KEY, "another"), 1):
            write_config(running.config, ollama.url, plugins=[LOG, {"auth": {"keys": [{"name": "tester", "key": key}]}}])
            running.signal(signal.SIGHUP)
            await until(partial(reloaded, running, 2 * times))

        assert {(await running.ask("/v1/models", key="another")).status for _ in range(10)} == {200}


async def test_a_reload_can_mend_what_keeps_all_workers_from_starting(ollama: FakeOllama, tmp_path: Path) -> None:
    plugins = install_moody(tmp_path)
    async with program(tmp_path, ollama.url, workers=2, plugins=plugins) as running:
        (tmp_path / "away").touch()
        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
        await until(lambda: len({said["worker"] for said in running.events("worker_not_started")}) == 2)

        write_config(running.config, ollama.url, plugins=[*plugins[:2], {"moody": {"mood": "patient"}}])
        running.signal(signal.SIGHUP)
        await until(partial(accepts, running.port))

        assert await healthy(running)


async def named(running: Program, host: str) -> Reply:
    """The answer to a request that calls the gateway by this name."""
    connection = await running.connect()
    connection.writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return await connection.reply()


@pytest.mark.parametrize("text", ["server: {prot: 0}\n", None])
async def test_a_worker_is_replaced_also_while_the_file_is_broken_or_gone(
    ollama: FakeOllama, tmp_path: Path, text: str | None
) -> None:
    """It is handed what was found valid: a slip of the pen must not wait for the next crash to take the service down."""
    async with program(tmp_path, ollama.url, workers=2) as running:
        running.config.unlink()
        if text is not None:
            running.config.write_text(text)

        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
            await until(partial(replaced, running, worker))

        assert {reply.status for reply in [await running.ask("/v1/models") for _ in range(6)]} == {200}


async def test_c46_requests_are_counted_once_for_all_workers(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=limited(requests_per_minute=10)) as running:
        replies = [await running.ask(body=chat(stream=False)) for _ in range(30)]

        assert Counter(reply.status for reply in replies) == {200: 10, 429: 20}
        lines = await until(lambda: len(found := running.events("request")) == 30 and found)
        assert len({line["request_id"] for line in lines}) == 30


async def test_c45_places_are_counted_once_for_all_workers(ollama: FakeOllama, tmp_path: Path) -> None:
    plugins = limited(max_concurrent=4, max_waiting=16, max_wait_seconds=20)
    async with program(tmp_path, ollama.url, workers=2, plugins=plugins) as running:
        ollama.defaults = Behaviour(text="a b", first_byte_seconds=0.15)

        replies = await asyncio.gather(*[running.ask(body=chat(stream=False)) for _ in range(60)])

        statuses = Counter(reply.status for reply in replies)
        assert set(statuses) == {200, 429}
        assert statuses[200] >= 20
        await until(lambda: all(call.ended_at for call in calls(ollama)))
        assert most_at_once(ollama) == 4
        assert (await running.ask(body=chat(stream=False))).status == 200


async def test_c45_places_of_a_worker_that_died_are_given_back(ollama: FakeOllama, tmp_path: Path) -> None:
    plugins = limited(max_concurrent=2, max_waiting=4, max_wait_seconds=20)
    async with program(tmp_path, ollama.url, workers=2, plugins=plugins) as running:
        ollama.next(*[Behaviour(text="word " * 1000, tokens_per_second=5)] * 2)
        for _ in range(2):
            holder = await running.connect()
            holder.send("/v1/chat/completions", chat())
            await holder.head()
        waiting = await running.connect()
        waiting.send("/v1/chat/completions", chat(stream=False))
        await until(lambda: len(calls(ollama)) == 2)

        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
            await until(partial(replaced, running, worker))

        replies = await asyncio.gather(*[running.ask(body=chat(stream=False)) for _ in range(4)])
        assert {reply.status for reply in replies} == {200}


async def test_c45_a_caller_who_leaves_the_line_leaves_it_in_the_parent_too(ollama: FakeOllama, tmp_path: Path) -> None:
    plugins = limited(max_concurrent=1, max_waiting=2, max_wait_seconds=20)
    async with program(tmp_path, ollama.url, workers=2, plugins=plugins) as running:
        ollama.next(Behaviour(text="a b c d e f", tokens_per_second=4))
        holder = await running.connect()
        holder.send("/v1/chat/completions", chat())
        await holder.head()

        for _ in range(6):
            leaver = await running.connect()
            leaver.send("/v1/chat/completions", chat(stream=False))
            await asyncio.sleep(0.05)  # in the line, or on its way there: both must be left
            await leaver.aclose()
        async with asyncio.timeout(30):
            while (reply := await running.ask(body=chat(stream=False))).status == 429:
                pass  # the last one has not left yet

        assert reply.status == 200


async def test_the_key_of_the_run_is_one_and_is_shown_once(ollama: FakeOllama, tmp_path: Path) -> None:
    async with program(tmp_path, ollama.url, workers=2, plugins=[LOG, {"auth": {}}, {"cache": {}}]) as running:
        said = [line for line in running.errors + running.out if "Key for this run: " in line]
        (key,) = {line.split("run: ")[1].strip() for line in said}
        os.kill(running.workers()[0], signal.SIGKILL)
        await until(lambda: running.events("worker_left") and len(running.workers()) == 2)

        replies = [await running.ask("/v1/models", key=key) for _ in range(10)]

        assert len(said) == 1
        assert {reply.status for reply in replies} == {200}
        assert len([line for line in running.errors + running.out if "each of the 2 workers keeps its own" in line]) == 1
        assert key not in (tmp_path / "logs" / "info.log").read_text()


async def test_a_worker_that_follows_a_reload_has_the_last_good_keys_too(ollama: FakeOllama, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("bob: two\n")
    file.chmod(0o600)
    async with program(tmp_path, ollama.url, workers=2, plugins=[LOG, {"auth": {"key_file": "keys"}}]) as running:
        _, killed = running.workers()
        file.write_text("broken\n")
        running.signal(signal.SIGHUP)
        await until(lambda: len(running.events("key_file_kept")) == 2)

        os.kill(killed, signal.SIGKILL)
        await until(partial(replaced, running, killed))
        replies = [await running.ask("/v1/models", key="two") for _ in range(20)]

        assert {reply.status for reply in replies} == {200}
        assert not running.events("worker_not_started")


async def test_what_hinders_one_worker_is_said_once(ollama: FakeOllama, tmp_path: Path) -> None:
    write_config(
        tmp_path / "config.yaml", ollama.url, plugins=[{"auth": {"key_file": "nowhere", "keys": [{"name": "a", "key": "b"}]}}]
    )
    async with starting(tmp_path, "--workers", "3") as running:
        assert await running.exit() == 2
    (line,) = running.errors
    assert "auth:" in line


async def test_a_file_that_cannot_be_written_is_said_once(ollama: FakeOllama, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    write_config(tmp_path / "config.yaml", ollama.url, plugins=[LOG, AUTH])
    async with starting(tmp_path, "--workers", "2") as running:
        assert await running.exit() == 2
    (line,) = running.errors
    assert "cannot write to logs" in line


def reloaded(running: Program, times: int) -> bool:
    return len(running.events("reloaded")) == times


def replaced(running: Program, worker: int) -> bool:
    workers = running.workers()
    return worker not in workers and len(workers) == 2


def calls(ollama: FakeOllama) -> list[Any]:
    return [request for request in ollama.ledger.requests if request.path == "/api/chat"]


def most_at_once(ollama: FakeOllama) -> int:
    moments = sorted([(call.arrived_at, 1) for call in calls(ollama)] + [(call.ended_at or 0.0, -1) for call in calls(ollama)])
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    return most


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
