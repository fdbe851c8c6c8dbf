import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tornado_gateway.channel import Channel
from tornado_gateway.config import Settings
from tornado_gateway.config.values import FilledIn
from tornado_gateway.hookspecs import Keeper, SharedUnavailable, StartupRefused
from tornado_gateway.keepers import Keepers
from tornado_gateway.signals import Signals
from tornado_gateway.worker import VARIABLE, Handed, Worker


class Places(Keeper):
    """One place, given to one call at a time."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.told: list[Any] = []

    async def enter(self, life: int) -> str:
        await self.lock.acquire()
        return "in"

    def leave(self, life: int) -> None:
        self.lock.release()

    def tell(self, life: int, word: str) -> None:
        self.told.append(word)

    def fail(self, life: int) -> None:
        raise ValueError


class Parent:
    """The other end, with a real desk and what else the worker says."""

    def __init__(self, keeper: Keeper, line: socket.socket) -> None:
        self.line = line
        self.said: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.channel = Channel(self._receive, lambda: None)
        self.desk = Keepers({"mine": keeper}).desk(1, self.channel.send)

    def _receive(self, message: list[Any]) -> None:
        if message[0] in ("call", "tell", "cancel"):
            getattr(self.desk, message[0])(*message[1:])
        else:
            self.said.put_nowait(message)


@asynccontextmanager
async def attached(keeper: Keeper) -> AsyncIterator[tuple[Worker, Parent, Signals]]:
    ours, theirs = socket.socketpair()
    parent, signals = Parent(keeper, theirs), Signals()
    worker = Worker(0, 2, [], ours, handed=Handed(Settings()), speaks=True)
    await asyncio.get_running_loop().create_unix_connection(lambda: parent.channel, sock=theirs)
    try:
        async with worker.attached(signals):
            yield worker, parent, signals
    finally:
        signals.stay()
        parent.channel.close()


async def test_its_heart_beats_and_it_says_when_it_is_ready_and_leaving() -> None:
    async with attached(Keeper()) as (worker, parent, _):
        worker.tell_ready()
        worker.announce("a line")
        worker.tell_leaving()

        said = [await parent.said.get() for _ in range(4)]

    assert sorted(said) == [["announce", "a line"], ["beat"], ["leaving"], ["ready"]]


async def test_a_plugin_calls_and_tells_its_keeper() -> None:
    keeper = Places()
    async with attached(keeper) as (worker, _, _):
        shared = worker.shared("mine")

        assert shared.tell("tell", "first")
        assert await shared.call("enter") == "in"

        assert keeper.told == ["first"]


async def test_what_fails_there_or_comes_too_late_is_unavailable_here() -> None:
    async with attached(Places()) as (worker, _, _):
        shared = worker.shared("mine")
        await shared.call("enter")

        with pytest.raises(SharedUnavailable):
            await shared.call("fail")
        with pytest.raises(SharedUnavailable):
            await shared.call("enter", seconds=0.02)


@pytest.mark.parametrize("patience", [0.02, None])
async def test_a_call_that_is_given_up_is_given_up_there_too(patience: float | None) -> None:
    """C45: otherwise the place would go to somebody who is not there any more."""
    keeper = Places()
    async with attached(keeper) as (worker, _, _):
        shared = worker.shared("mine")
        await shared.call("enter")
        call = asyncio.ensure_future(shared.call("enter", seconds=patience))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        shared.tell("leave")

        assert await shared.call("enter", seconds=5) == "in"


async def test_without_its_parent_it_stops_at_once() -> None:
    async with attached(Places()) as (worker, parent, signals):
        await worker.shared("mine").call("enter")
        waiting = asyncio.ensure_future(worker.shared("mine").call("enter", seconds=None))
        await asyncio.sleep(0)

        parent.channel.close()

        await asyncio.wait_for(signals.at_once.wait(), 5)
        with pytest.raises(SharedUnavailable):
            await waiting


async def test_it_says_of_which_reload_it_tells() -> None:
    async with attached(Keeper()) as (worker, parent, signals):
        new = Handed(Settings.model_validate({"plugins": []}))
        parent.channel.send(["reload", 7, new.packed()])
        await asyncio.wait_for(signals.hang_up.wait(), 5)
        number, offered = worker.offered

        worker.tell_reloaded(number, ["mine"])

        while (said := await parent.said.get()) == ["beat"]:
            pass
        assert said == ["reloaded", 7, ["mine"]]
        assert offered == new


def test_what_is_handed_over_is_what_is_in_force_and_for_the_same_program_only(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate(
        {
            "upstream": {"headers": {"Authorization": "Bearer x"}},
            "plugins": [{"auth": {"keys": [FilledIn.of("1", whole=True)]}}],
        }
    )
    data = Handed(settings).packed()

    assert Handed.unpacked(data) == Handed(settings)
    assert Handed.unpacked(data).settings.plugins[0].settings["keys"][0].whole

    monkeypatch.setattr("tornado_gateway.worker.__version__", "99")
    with pytest.raises(StartupRefused, match="restart"):
        Handed.unpacked(data)


def test_a_process_that_nobody_made_a_worker_is_none() -> None:
    assert VARIABLE not in os.environ
    assert Worker.from_environment() is None


def test_a_worker_whose_parent_is_gone_already_ends() -> None:
    code = "from tornado_gateway.worker import die_with_parent; die_with_parent(1); print('still here')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (0, b"")
