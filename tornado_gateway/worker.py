"""A worker's end of what it shares with the others: its sockets, its heartbeat, its line to the keepers in the parent.

The parent is `workers.py`, which says the messages' names. A worker does not outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tornado_gateway import __version__
from tornado_gateway.channel import Channel
from tornado_gateway.config import Settings
from tornado_gateway.hookspecs import SharedUnavailable, StartupRefused
from tornado_gateway.signals import Signals
from tornado_gateway.tls import Pair

VARIABLE = "TORNADO_GATEWAY_WORKER"
"""How the parent tells a process that it is a worker: private to the two."""
BEAT_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Handed:
    """What is in force, or is to be, whatever the files say by now. Secrets are among it: it goes over in a file in memory."""

    settings: Settings
    pair: Pair | None = None

    def packed(self) -> bytes:
        return __version__.encode() + b"\n" + pickle.dumps(self)

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Raises `StartupRefused` where the program is not the parent's any more."""
        version, _, packed = data.partition(b"\n")
        if version.decode() != __version__:
            raise StartupRefused(f"version {__version__} was installed under a running {version.decode()}: restart the server")
        handed: Self = pickle.loads(packed)  # noqa: S301  # nobody but the parent has that file
        return handed


class Worker:
    """Who this process is, among several."""

    def __init__(
        self,
        number: int,
        of: int,
        sockets: list[socket.socket],
        line: socket.socket,
        *,
        handed: Handed,
        speaks: bool,
    ) -> None:
        self.number = number
        self.of = of
        self.sockets = sockets
        self.handed = handed
        self.speaks = speaks
        """Whether this one tells the person at the terminal that the server is up."""
        self.offered: tuple[int | None, Handed] = (None, handed)
        """The last reload that the parent asked for: its number, and what to take."""
        self._line = line
        self._channel: Channel | None = None
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count()

    @classmethod
    def from_environment(cls) -> Self | None:
        """None for a process that is no worker. A worker whose parent is gone already ends here."""
        told = os.environ.pop(VARIABLE, None)
        if told is None:
            return None
        facts = json.loads(told)
        die_with_parent(facts["parent"])
        sockets = [socket.socket(fileno=descriptor) for descriptor in facts["sockets"]]
        line = socket.socket(fileno=facts["line"])
        with open(facts["handed"], "rb") as file:  # noqa: PTH123  # a descriptor
            handed = Handed.unpacked(file.read())
        return cls(facts["number"], facts["of"], sockets, line, handed=handed, speaks=facts["speaks"])

    @contextlib.asynccontextmanager
    async def attached(self, signals: Signals) -> AsyncIterator[None]:
        """With a heart that beats, from the loop: a loop that hangs does not beat. Without a parent the server stops at once.

        The parent is told why it ends, if that is an error.
        """

        def receive(message: list[Any]) -> None:
            match message:
                case ["stop", True]:
                    signals.stop_at_once()
                case ["stop", _]:
                    signals.stop.set()
                case ["reload", number, data]:
                    self.offered = (number, Handed.unpacked(data))
                    signals.hang_up.set()
                case _:
                    self._receive(message)

        def orphaned() -> None:
            self._fail_calls()
            if self._channel is not None:  # else it is we who closed it
                signals.stop_at_once()

        loop = asyncio.get_running_loop()
        _, self._channel = await loop.create_unix_connection(lambda: Channel(receive, orphaned), sock=self._line)
        beating = loop.create_task(self._beat(self._channel))
        try:
            yield
        except Exception as error:
            self._send(["failed", str(error) or type(error).__name__])
            raise
        finally:
            beating.cancel()
            channel, self._channel = self._channel, None
            channel.close()

    def tell_ready(self) -> None:
        self._send(["ready"])

    def tell_reloaded(self, number: int | None, behind: Sequence[str] | None) -> None:
        """What came of a reload. `behind` are the plugins that go on with what they had; None: nothing was taken."""
        self._send(["reloaded", number, behind])

    def tell_leaving(self) -> None:
        """Another may take the place: this one takes nobody in any more."""
        self._send(["leaving"])

    def announce(self, line: str) -> None:
        """A line for the person who started the server: the parent shows what all workers say once."""
        self._send(["announce", line])

    def shared(self, plugin: str) -> _Line:
        return _Line(self, plugin)

    async def call(self, plugin: str, method: str, args: tuple[Any, ...], seconds: float | None) -> Any:
        number = next(self._ids)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._calls[number] = future
        # A timer of its own: `asyncio.timeout` costs twice as much, and a hook that waits has one around it already.
        timer = None if seconds is None else loop.call_later(seconds, self._expire, number, seconds)
        try:
            if not self._send(["call", number, plugin, method, args]):
                raise SharedUnavailable("The parent process cannot be reached.")
            return await future
        except asyncio.CancelledError:
            self._send(["cancel", number])
            raise
        finally:
            del self._calls[number]
            if timer is not None:
                timer.cancel()

    def tell(self, plugin: str, method: str, args: tuple[Any, ...]) -> bool:
        return self._send(["tell", plugin, method, args])

    def _send(self, message: list[Any]) -> bool:
        return self._channel is not None and self._channel.send(message)

    def _receive(self, message: list[Any]) -> None:
        kind, number, value = message
        future = self._calls.get(number)
        if future is None or future.done():
            return
        if kind == "answer":
            future.set_result(value)
        else:
            self._fail(future, value)

    def _expire(self, number: int, seconds: float) -> None:
        self._fail(self._calls[number], f"The parent process did not answer within {seconds:g} s.")
        self._send(["cancel", number])

    def _fail_calls(self) -> None:
        for future in self._calls.values():
            self._fail(future, "The parent process is gone.")

    @staticmethod
    def _fail(future: asyncio.Future[Any], reason: str) -> None:
        if not future.done():
            future.set_exception(SharedUnavailable(reason))

    async def _beat(self, channel: Channel) -> None:
        while True:
            channel.send(["beat"])
            await asyncio.sleep(BEAT_SECONDS)


class _Line:
    """`Shared` for one plugin."""

    def __init__(self, worker: Worker, plugin: str) -> None:
        self.worker = worker.number
        self._worker = worker
        self._plugin = plugin

    async def call(self, method: str, *args: Any, seconds: float | None = 5.0) -> Any:
        return await self._worker.call(self._plugin, method, args, seconds)

    def tell(self, method: str, *args: Any) -> bool:
        return self._worker.tell(self._plugin, method, args)


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that ends, and also if this one hangs or is stopped.

    Elsewhere than on Linux the end of the channel is what there is. Called too late, so that another has adopted us, it is the end now.
    """
    if sys.platform == "linux":
        _prctl()(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _prctl() -> Callable[..., int]:
    function: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    return function
